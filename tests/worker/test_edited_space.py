"""`study.edit` and `study.start_from`: commands that go on with, or begin from, what studies have found."""

import shutil
import socket
import time
from pathlib import Path
from unittest.mock import MagicMock

import pytest
from optuna.trial import TrialState, create_trial
from sweeping import STORAGE, evaluate, sweep

from finesweep.config.run import RunConfig
from finesweep.config.study import StudyConfig
from finesweep.errors import ConfigError, ModelError, StudyError
from finesweep.hooks import RunHooks
from finesweep.monitor.report import describe
from finesweep.study import studies
from finesweep.study.places import places_of
from finesweep.study.queue import TrialQueue
from finesweep.study.ranking import best_first
from finesweep.study.records import StudyRecord, TrialRecord
from finesweep.study.steering import stop_trial
from finesweep.worker.finish import _checkpoint
from finesweep.worker.retention import is_lost
from finesweep.worker.trial import RunningTrial

pytestmark = pytest.mark.usefixtures("no_finish")
RATE = "optimizer.learning_rate"
FIXED = ("trainer.num_train_epochs=1", "trainer.per_device_train_batch_size=8",
         "hydra.sweeper.study.sampler=random")  # fmt: skip
KEPT = (*FIXED, "hydra.sweeper.keep_checkpoints=99")
WIDE, NARROW = f"{RATE}=interval(1e-4,1e-2)", f"{RATE}=interval(1e-4,5e-3)"
EDIT = "hydra.sweeper.study.edit=true"


def plain(config: RunConfig, trial: RunHooks) -> float:
    return evaluate(trial, [config.optimizer.learning_rate])


def n_trials(count: int) -> str:
    return f"hydra.sweeper.study.n_trials={count}"


def test_a_narrowed_study_keeps_what_lies_in_it_and_says_the_difference(
    capfd: pytest.CaptureFixture[str],
) -> None:
    before = sweep(plain, *KEPT, WIDE, n_trials(8))
    rates = [trial.params[RATE] for trial in before.trials]
    inside = sum(rate <= 5e-3 for rate in rates)
    assert 0 < inside < 8
    with pytest.raises(StudyError, match="study.edit=true goes on with the trials that lie in"):
        sweep(plain, *KEPT, NARROW, n_trials(8))
    capfd.readouterr()
    after = sweep(plain, *KEPT, NARROW, n_trials(8), EDIT)
    said = capfd.readouterr()
    told = "study quickstart: its space is edited\n  optimizer.learning_rate: was 0.0001 to 0.01, is"
    assert f"{told} 0.0001 to 0.005\n" in said.err
    assert f"{inside} of its 8 finished trials lie in it, and count; the others are history" in said.err
    status = describe(after)
    assert (status.finished, status.outside, len(after.trials)) == (8, 8 - inside, 16 - inside)
    assert f"history:      {8 - inside} finished trials lie outside of the edited space" in said.out
    assert max(trial.params[RATE] for trial in best_first(after)) <= 5e-3
    assert status.steered[0]["what"].startswith("edit optimizer.learning_rate: was")
    assert StudyRecord(after).conclusion is not None
    again = sweep(plain, *KEPT, NARROW, n_trials(8))  # it is this study now
    assert len(again.trials) == len(after.trials)
    back = sweep(plain, *KEPT, WIDE, n_trials(8), EDIT)
    former, winner = best_first(before)[0], best_first(back)[0]  # its weights were no longer kept
    assert (TrialRecord(winner).again, winner.params) == (former.number, former.params)
    assert describe(back).outside == 1 and len(back.trials) == 17 - inside  # beyond the budget
    conclusion = StudyRecord(back).conclusion
    assert conclusion is not None and conclusion.best == winner.number


def test_a_winner_whose_weights_are_gone_is_trained_again(capfd: pytest.CaptureFixture[str]) -> None:
    study = sweep(plain, *FIXED, WIDE, n_trials(8), "hydra.sweeper.keep_checkpoints=1")
    first = next(trial for trial in best_first(study) if trial.params[RATE] <= 5e-3)
    assert not Path("weights", f"trial-{first.number:04d}").exists()
    inside = sum(trial.params[RATE] <= 5e-3 for trial in study.trials)
    after = sweep(plain, *FIXED, NARROW, n_trials(inside), EDIT, "hydra.sweeper.keep_checkpoints=1")
    assert f"trial {first.number} will be trained again" in capfd.readouterr().err
    winner = best_first(after)[0]
    assert winner.number == 8 and winner.params == first.params
    assert TrialRecord(winner).again == first.number and TrialRecord(winner).reused_of is None
    assert Path("weights/trial-0008").exists() and describe(after).finished == inside


def test_a_study_notes_as_models_only_the_weights_that_are_there(capfd: pytest.CaptureFixture[str]) -> None:
    """More are kept from some day on: those that were removed before are among the best, but gone."""
    sweep(plain, *FIXED, WIDE, n_trials(8), "hydra.sweeper.keep_checkpoints=1")
    study = sweep(plain, *FIXED, WIDE, n_trials(9), "hydra.sweeper.keep_checkpoints=9")
    noted = set(StudyRecord(study).artifacts or [])
    with_weights = [one for one in study.trials if Path("weights", f"trial-{one.number:04d}").exists()]
    assert noted == {str(TrialRecord(one).run_id) for one in with_weights} and 0 < len(noted) < 9
    lost = next(one for one in best_first(study) if one not in with_weights and one.params[RATE] <= 5e-3)
    narrow = f"{RATE}=interval({lost.params[RATE] * 0.999},{lost.params[RATE] * 1.001})"
    after = sweep(plain, *FIXED, narrow, n_trials(1), EDIT)
    assert f"trial {lost.number} will be trained again" in capfd.readouterr().err
    conclusion = StudyRecord(after).conclusion
    assert conclusion is not None and conclusion.best == 9 and best_first(after)[0].params == lost.params


def test_if_a_person_stops_what_is_trained_again_the_next_best_is_trained_again() -> None:
    """The weights of both are gone, and the search has no other trial left."""
    study = sweep(plain, *FIXED, WIDE, n_trials(8), "hydra.sweeper.keep_checkpoints=1")
    inside = [one for one in best_first(study) if one.params[RATE] <= 5e-3]

    def stopped_once(config: RunConfig, trial: RunHooks) -> float:
        assert isinstance(trial, RunningTrial)
        if trial.record.again == inside[0].number:
            stop_trial(trial.queue, trial.trial.number)
            trial._write_heartbeat()
            trial.check()
        return plain(config, trial)

    after = sweep(stopped_once, *FIXED, NARROW, n_trials(len(inside)), EDIT)
    again = [TrialRecord(one).again for one in after.trials if TrialRecord(one).again is not None]
    assert again == [inside[0].number, inside[1].number]
    conclusion, winner = StudyRecord(after).conclusion, best_first(after)[0]
    assert conclusion is not None and conclusion.best == winner.number
    assert winner.params == inside[1].params and Path("weights", f"trial-{winner.number:04d}").exists()


def test_what_waits_outside_of_a_second_edit_keeps_nobody_waiting(capfd: pytest.CaptureFixture[str]) -> None:
    """The point that the first edit would train again is not trained: its command was interrupted."""
    study = sweep(plain, *FIXED, WIDE, n_trials(8), "hydra.sweeper.keep_checkpoints=1")
    ranked = best_first(study)
    first, second = (f"{RATE}=interval({one.params[RATE] * 0.999},{one.params[RATE] * 1.001})"
                     for one in ranked[1:3])  # fmt: skip

    def interrupted(config: RunConfig, trial: RunHooks) -> float:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep(interrupted, *FIXED, first, n_trials(1), EDIT)
    after = sweep(plain, *FIXED, second, n_trials(1), EDIT)
    assert f"trial {ranked[2].number} will be trained again" in capfd.readouterr().err
    conclusion = StudyRecord(after).conclusion
    assert conclusion is not None and best_first(after)[0].params == ranked[2].params


def test_a_trial_of_another_host_whose_folder_is_not_seen_here_is_not_lost() -> None:
    study = sweep(plain, *FIXED, WIDE, n_trials(2))
    best = best_first(study)[0]
    record = StudyRecord(study)
    record.artifacts = []
    shutil.rmtree(f"weights/trial-{best.number:04d}")
    assert is_lost(study, best)  # its folder, with its log, is here
    best.user_attrs["owner"] = best.user_attrs["owner"].replace(socket.gethostname(), "elsewhere")
    assert is_lost(study, best)
    shutil.rmtree(places_of(study).find(str(TrialRecord(best).folder)))
    assert not is_lost(study, best)


def test_a_damaged_winner_is_set_aside_so_that_it_may_be_trained_again() -> None:
    study = sweep(plain, *FIXED, WIDE, n_trials(1))
    for path in Path("weights/trial-0000").iterdir():
        path.write_bytes(b"")
    queue, tracked = TrialQueue(StudyConfig(name="quickstart", storage=STORAGE), ()), MagicMock()
    tracked.download.side_effect, tracked.run_id = (
        ModelError("no artifact"),
        TrialRecord(study.trials[0]).run_id,
    )
    with pytest.raises(
        ModelError, match="trial 0: its weights are gone or damaged, in .*study.edit=true, and"
    ):
        _checkpoint(queue, study.trials[0], Path("out"), tracked)
    assert Path("weights/trial-0000-damaged").is_dir() and is_lost(queue.study, study.trials[0])


def test_a_study_that_was_not_edited_may_have_its_winner_trained_again(
    capfd: pytest.CaptureFixture[str],
) -> None:
    best = best_first(sweep(plain, *FIXED, WIDE, n_trials(2)))[0]
    shutil.rmtree(f"weights/trial-{best.number:04d}")
    record = StudyRecord(studies.load("quickstart", STORAGE))
    record.artifacts = [one for one in record.artifacts or [] if one != TrialRecord(best).run_id]
    after = sweep(plain, *FIXED, WIDE, n_trials(2), EDIT)
    assert f"trial {best.number} will be trained again" in capfd.readouterr().err
    assert (len(after.trials), best_first(after)[0].params) == (3, best.params)


def test_an_edit_is_refused_while_trials_run_and_for_other_keys() -> None:
    study = sweep(plain, *FIXED, WIDE, n_trials(1))
    with pytest.raises(StudyError) as refused:
        sweep(plain, *FIXED[1:], WIDE, "trainer.num_train_epochs=1,2", n_trials(1), EDIT)
    assert "study.edit=true" not in str(refused.value)
    attrs = TrialRecord.attributes(owner="elsewhere|1|0.00", heartbeat=time.time(), started=time.time())
    study.add_trial(create_trial(state=TrialState.RUNNING, user_attrs=attrs))
    with pytest.raises(StudyError, match="edit: trials 1 of study 'quickstart' run in its former space"):
        sweep(plain, *FIXED, NARROW, n_trials(2), EDIT)
    assert StudyRecord(studies.load("quickstart", STORAGE)).outside is None


def test_a_final_score_of_rows_that_chose_is_said_and_no_ensemble_is_tested_on_it(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(
        ConfigError, match="ensemble: got 'soup'; legal: none, or with rows that choose nothing"
    ):
        sweep(plain, *FIXED, WIDE, "data.final_eval_split=validation", "hydra.sweeper.study.ensemble=soup")
    study = sweep(plain, *FIXED, WIDE, n_trials(1), "data.final_eval_split=validation")
    assert "rows of final are trained on or select, so their score is too good" in capfd.readouterr().err
    assert StudyRecord(study).final_chose == ["quickstart"]


def test_a_study_starts_from_what_others_found(capfd: pytest.CaptureFixture[str]) -> None:
    source = sweep(plain, *FIXED, WIDE, n_trials(8))
    best = best_first(source)[0]
    shutil.copytree("mlruns", "elsewhere")
    named = "hydra.sweeper.study.name=other"
    given = "hydra.sweeper.study.start_from=[quickstart,'sqlite:///elsewhere/optuna.db::quickstart']"
    sweep(plain, *FIXED, NARROW, n_trials(4), named, given)
    other = studies.load("other", STORAGE)
    assert other.trials[0].params[RATE] == 5e-3  # the best one lies outside
    assert TrialRecord(other.trials[0]).origin == f"quickstart#{best.number}"
    assert [TrialRecord(trial).origin for trial in other.trials[1:]] == [None] * 3  # a quarter is known
    said = capfd.readouterr().err
    assert f"start_from: trial {best.number} of quickstart: {RATE}=0.005; moved into this space" in said
    sweep(plain, *FIXED, WIDE, n_trials(9))
    sweep(plain, *FIXED, NARROW, n_trials(6), named, given)  # the others' later finds are not queued
    assert sum(bool(TrialRecord(trial).origin) for trial in studies.load("other", STORAGE).trials) == 1


def test_a_study_that_searched_something_else_gives_no_point_and_that_is_said(
    capfd: pytest.CaptureFixture[str],
) -> None:
    sweep(plain, *FIXED, WIDE, n_trials(2))
    other = ("hydra.sweeper.study.name=other", "hydra.sweeper.study.start_from=[quickstart]")
    sweep(plain, *FIXED, f"{RATE}=1e-3", "optimizer.weight_decay=interval(0,0.1)", n_trials(1), *other)
    assert "start_from: quickstart: searched nothing that this study searches" in capfd.readouterr().err


def test_rows_of_the_final_score_that_chose_in_an_earlier_study_are_said(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """The earlier one chose by what is here the final score; a hold-out chooses here."""
    sweep(plain, *FIXED, WIDE, n_trials(2))
    starts = ("hydra.sweeper.study.name=other", "hydra.sweeper.study.start_from=[quickstart]")
    sweep(plain, *FIXED, WIDE, n_trials(2), *starts, "data.holdout=0.2")
    assert (
        "start_from: the rows of the final score chose the points of study quickstart"
        in capfd.readouterr().err
    )
    assert StudyRecord(studies.load("other", STORAGE)).final_chose == ["quickstart"]
    third = ("hydra.sweeper.study.name=third", "hydra.sweeper.study.start_from=[other]")
    sweep(plain, *FIXED, WIDE, n_trials(2), *third, "data.holdout=0.2")  # by way of the one in between
    assert StudyRecord(studies.load("third", STORAGE)).final_chose == ["quickstart"]


def test_a_study_that_cannot_be_started_from_is_refused() -> None:
    sweep(plain, *FIXED, WIDE, n_trials(1))
    named = "hydra.sweeper.study.name=other"
    for given, told in (
        ("[quickstar]", "start_from: study 'quickstar': not in .*did you mean quickstart"),
        ("['sqlite:///nowhere.db::quickstart']", "start_from: study 'quickstart': there is no sqlite"),
    ):
        with pytest.raises(StudyError, match=told):
            sweep(plain, *FIXED, WIDE, n_trials(4), named, f"hydra.sweeper.study.start_from={given}")
    with pytest.raises(ConfigError, match="start_from: sqlite:///mlruns/mlflow.db::a: .*not Optuna's"):
        sweep(plain, *FIXED, WIDE, n_trials(4), named,
              "hydra.sweeper.study.start_from=['sqlite:///mlruns/mlflow.db::a']")  # fmt: skip
    with pytest.raises(ConfigError, match="start_from: got 'other'; legal: other studies than this one"):
        sweep(plain, *FIXED, WIDE, n_trials(4), named, "hydra.sweeper.study.start_from=[other]")
    sweep(plain, *FIXED, WIDE, n_trials(1), named)
    itself = "hydra.sweeper.study.start_from=['sqlite:///mlruns/optuna.db::other']"
    with pytest.raises(ConfigError, match="start_from: got .*::other.*legal: other studies than this one"):
        sweep(plain, *FIXED, WIDE, n_trials(4), named, itself)
    grid = ("hydra.sweeper.study.sampler=grid", f"{RATE}=1e-3,1e-4")
    with pytest.raises(ConfigError, match="sampler: got 'grid'; legal: another one with"):
        sweep(plain, *FIXED[:2], *grid, named, "hydra.sweeper.study.start_from=[quickstart]")
