"""A study says how sure its result is: intervals, and the winner beside runner-up and baseline."""

import json
import re
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from labelled import CLASSIFICATION, NAMES, task
from optuna.study import Study
from optuna.trial import TrialState, create_trial
from searching import RATE, add, confirm

from finesweep.config.run import TrackingConfig
from finesweep.errors import ConfigError
from finesweep.hooks import Noise
from finesweep.inference import comparing
from finesweep.inference.origin import Stores
from finesweep.monitor.description import of_study
from finesweep.monitor.report import best, describe
from finesweep.monitor.summary import lines, print_summary
from finesweep.study.baseline import baseline_of
from finesweep.study.certainty import Certainty
from finesweep.study.ensemble import Ensembled
from finesweep.study.noise import certainty_of
from finesweep.study.places import places_of
from finesweep.study.ranking import best_first
from finesweep.study.records import Conclusion, Steered, StudyRecord, TrialRecord
from finesweep.tasks import Scorer
from finesweep.tasks.evaluated import Evaluated

ROWS = 200


def study_of(*accuracies: float, sampler: str = "tpe") -> Study:
    """A search whose trials were right on the first rows of 200, with kept predictions; one was enqueued."""
    study = optuna.create_study(direction="maximize", study_name="a")
    study.set_user_attr("metric", "accuracy")
    study.set_user_attr("n_trials", len(accuracies))
    study.set_user_attr("history", [{"sampler": sampler}])
    for number, accuracy in enumerate(accuracies):
        folder = Path(f"trial-{number}/checkpoint").resolve()
        folder.mkdir(parents=True)
        right = np.arange(ROWS) < round(accuracy * ROWS)
        Evaluated(np.eye(2)[right.astype(int)], np.ones(ROWS, np.int64)).save(folder)
        attrs = TrialRecord.attributes(
            checkpoint=str(folder), run_id=f"run{number}", noise=Noise(0.02, ROWS), ordinal=number
        )
        fixed = {"fixed_params": {RATE: 1e-3}} if number == 0 else {}
        study.add_trial(
            create_trial(state=TrialState.COMPLETE, value=accuracy, user_attrs=attrs, system_attrs=fixed)
        )
    return study


def scorer() -> Scorer:
    return Scorer(task(CLASSIFICATION), NAMES[CLASSIFICATION])


def concluded(study: Study, made: Scorer | None = None) -> Certainty:
    winner = best_first(study)[0]
    found = certainty_of(study, places_of(study), winner, made or scorer())
    assert found is not None
    StudyRecord(study).conclusion = Conclusion(
        [len(study.trials), 0], winner.number, metrics={"final_accuracy": 1.0}, certainty=found
    )
    return found


def test_the_winner_stands_beside_the_runner_up_and_the_baseline() -> None:
    found = concluded(study_of(0.5, 0.8, 0.81))
    assert found.interval is not None and found.interval.rows == ROWS
    assert found.interval.low < 0.76 < 0.81 < 0.85 < found.interval.high
    second, first = found.comparisons
    assert (second.trial, second.role, second.is_different) == (1, "runner-up", False)
    assert (first.trial, first.role, first.is_different) == (0, "baseline", True)
    assert (second.lead, first.lead) == (pytest.approx(0.01), pytest.approx(0.31))
    assert found.missing == [] and found.final is None


def test_best_and_status_say_it_in_words_and_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    study = study_of(0.5, 0.8, 0.79, 0.81)
    assert "how sure:     standard error 0.0200 over 200 rows" in lines(best(study))  # before the finish step
    made = scorer()
    made.evaluated = Evaluated(np.eye(2)[np.arange(100) % 2], np.arange(100) % 2)  # of the final score
    concluded(study, made)
    told = "\n".join(lines(best(study)))
    for text in (
        "how sure:     95%: 0.7500 to 0.8583 over 200 rows, which also chose it",
        "how sure:     0.0100 better than trial 1, the runner-up: not distinguishable (p=0.5)",
        "how sure:     0.3100 better than trial 0, the baseline: distinguishable (p<0.001, though chosen as "
        "the best of 4 on these rows)",
        "best of n:    expected 0.7250 of 1, ",
        "final score:  final_accuracy=1.0000 (95%: 0.9630 to 1.0000 over 100 rows)",
    ):
        assert text in told
    print_summary(describe(study))
    assert "0.0100 better than trial 1, the runner-up" in capsys.readouterr().out
    document = json.loads(json.dumps(asdict(best(study))))
    assert document["certainty"]["comparisons"][0]["p"] == pytest.approx(0.5)
    assert (document["row_noise"], document["rows"]) == (0.02, ROWS)
    assert list(document["best_of_n"]) == ["1", "2", "4"]


def test_what_is_not_known_is_said() -> None:
    study = study_of(0.6, 0.8, 0.81)
    for number in (0, 1):
        Path(f"trial-{number}/checkpoint/evaluation.npz").unlink()
    found = concluded(study)
    assert found.interval is not None and found.comparisons == []
    told = "\n".join(lines(best(study)))
    assert "not known: the predictions of trial 1 were not kept: its checkpoint is of an earlier" in told
    shutil.rmtree("trial-0/checkpoint")
    assert "the predictions of trial 0 were not kept: its checkpoint is gone (hydra.sweeper" in str(
        concluded(study)
    )
    Path("trial-2/checkpoint/evaluation.npz").unlink()  # a checkpoint of an earlier version
    assert concluded(study).interval is None


def test_the_winners_checkpoint_may_have_been_downloaded() -> None:
    study = study_of(0.6, 0.8, 0.81)
    Path("trial-2/checkpoint").rename("downloaded")
    found = certainty_of(
        study, places_of(study), best_first(study)[0], scorer(), Path("downloaded").resolve()
    )
    assert found is not None and found.interval is not None and len(found.comparisons) == 2


@pytest.mark.parametrize("has_final", [True, False])
def test_a_metric_that_takes_long_is_not_computed_thousands_of_times(
    monkeypatch: pytest.MonkeyPatch, has_final: bool
) -> None:
    monkeypatch.setattr("finesweep.tasks.resampling.SLOW_S", 0.0)
    made = Scorer(task(CLASSIFICATION, metric="f1_macro"), NAMES[CLASSIFICATION])
    made.evaluated = Evaluated(np.eye(2)[[0, 1]], np.array([0, 1])) if has_final else None
    study = study_of(0.6, 0.8, 0.81)
    study.set_user_attr("metric", "f1_macro")
    found = concluded(study, made)
    assert found.final is None and found.interval is None and found.comparisons == []
    why = r"the metric takes \d\.\d s for its rows, and would be computed hundreds of times"
    assert [re.fullmatch(f"(the final score: )?{why}", text) is not None for text in found.missing] == [
        True
    ] * (1 + has_final)
    study.set_user_attr("metric", "accuracy")  # a share of right rows takes one computation
    assert concluded(study).missing == [] and len(concluded(study).comparisons) == 2


def test_the_final_scores_interval_stands_behind_the_metric_or_its_reason_is_said() -> None:
    study, made = study_of(0.6, 0.8, 0.81), scorer()
    made.evaluated = Evaluated(np.eye(2)[np.arange(100) % 2], np.arange(100) % 2)
    conclusion = Conclusion([3, 0], 2, certainty=concluded(study, made))
    conclusion.metrics = {"final_loss": 0.59, "final_f1": 0.9, "final_runtime": 3.0, "final_accuracy": 1.0}
    StudyRecord(study).conclusion = conclusion
    told = "final_accuracy=1.0000 (95%: 0.9630 to 1.0000 over 100 rows)  final_loss=0.5900  final_f1=0.9000"
    assert f"final score:  {told}" in "\n".join(lines(best(study)))
    assert "Final score, on rows that chose nothing: `final_accuracy` 1.0000 (95%" in of_study(study, False)
    study.set_user_attr("metric", "f1_macro")
    Path("trial-2/checkpoint/evaluation.npz").unlink()  # f1 of 200 rows takes a while
    macro = Scorer(task(CLASSIFICATION, metric="f1_macro"), NAMES[CLASSIFICATION])
    macro.evaluated = Evaluated(np.eye(2)[np.ones(9, int)], np.ones(9, np.int64))
    assert "the final score: all resamples of the rows score the same: there is no interval" in (
        concluded(study, macro).missing
    )


def test_rows_of_the_final_score_that_chose_in_an_earlier_study_are_named() -> None:
    study = study_of(0.6, 0.8, 0.81)
    StudyRecord(study).final_chose = ["rte"]
    made = scorer()
    made.evaluated = Evaluated(np.eye(2)[np.arange(100) % 2], np.arange(100) % 2)
    concluded(study, made)
    assert "Final score: `final_accuracy` 1.0000 (95%" in of_study(study, works=False)
    said = "\n".join(lines(best(study)))
    assert "the rows of the final score were used before, in rte: new rows may score less well" in said


def test_a_single_confirmed_candidate_has_a_runner_up() -> None:
    study = study_of(0.6, 0.8, 0.81)
    confirm(study, {2: [0.79, 0.8]})
    assert [(one.trial, one.role) for one in concluded(study).comparisons][0] == (1, "runner-up")


def test_values_of_partly_trained_trials_are_said_beside_the_best_of_n() -> None:
    study = study_of(0.5, 0.6, 0.7, 0.8)
    concluded(study)
    assert best(study).partly_trained == 0 and "partly trained" not in "\n".join(lines(best(study)))
    add(study, TrialState.PRUNED, 0.1, ordinal=4)
    assert "trials (1 of the values are those of partly trained ones)" in "\n".join(lines(best(study)))


def test_comparisons_are_those_of_the_trials_that_the_finish_step_knew() -> None:
    study = study_of(0.5, 0.8, 0.9)
    assert len(concluded(study).comparisons) == 2
    assert best(study).certainty == concluded(study)
    add(study, TrialState.COMPLETE, 0.89, ordinal=3)
    found = best(study).certainty
    assert found is not None and found.interval is not None and found.comparisons == []
    assert "trials were added since the finish step, which compares anew" in found.missing[-1]


def test_a_paused_trial_that_another_went_on_from_counts_once() -> None:
    study = study_of(0.5, 0.6, 0.7, 0.8)
    add(study, TrialState.PRUNED, 0.1, ordinal=4)
    add(study, TrialState.COMPLETE, 0.4, ordinal=4, continues=4)
    assert list(best(study).best_of_n) == [1, 2, 5]
    assert concluded(study).chosen_of == best(study).chosen_of == 5


def test_a_metric_of_a_persons_own_is_not_tested_against_and_the_reason_is_true(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study = study_of(0.5, 0.6)
    study.set_user_attr("metric", "scoring.profit")
    monkeypatch.setattr(comparing, "read_study", lambda *_: study)
    monkeypatch.setattr(comparing, "_scorer", lambda *_: scorer())
    with pytest.raises(
        ConfigError, match="one of finesweep's metrics; scoring.profit is not, and no function"
    ):
        comparing.compare("a", 1, 0, Stores("sqlite:///unused.db", TrackingConfig()))


def test_other_rows_are_not_compared() -> None:
    study = study_of(0.6, 0.8, 0.81)
    Evaluated(np.eye(2)[[0, 1]], np.array([0, 1])).save(Path("trial-1/checkpoint"))
    assert "trial 1 was evaluated on other rows" in concluded(study).missing


def test_new_seeds_give_their_own_noise() -> None:
    study = study_of(0.6, 0.8)
    confirm(study, {0: [0.6, 0.62, 0.64], 1: [0.7, 0.72, 0.74]})
    assert best(study).seed_noise == pytest.approx(0.02)
    assert "standard deviation 0.0200 over new seeds" in "\n".join(lines(best(study)))


def test_the_baseline_is_the_first_enqueued_point_whichever_try_completed() -> None:
    assert getattr(baseline_of(study_of(0.5, 0.8)), "number", None) == 0
    study = optuna.create_study()
    study.set_user_attr("history", [{"sampler": "tpe"}])
    study.add_trial(create_trial(
        state=TrialState.FAIL, system_attrs={"fixed_params": {RATE: 1e-3}},
        user_attrs=TrialRecord.attributes(ordinal=0),
    ))  # fmt: skip
    assert baseline_of(study) is None
    retry = add(study, TrialState.COMPLETE, 0.5, ordinal=0, retry_of=0)
    assert getattr(baseline_of(study), "number", None) == retry


@pytest.mark.parametrize(
    "whose", [{"origin": "earlier#7"}, {"tried": Steered("try", "2026-01-01T00:00:00", "ann", "host")}]
)
def test_a_point_of_another_study_or_one_that_was_queued_later_is_no_baseline(whose: dict[str, Any]) -> None:
    study = optuna.create_study()
    study.set_user_attr("history", [{"sampler": "tpe"}])
    study.add_trial(create_trial(
        value=0.5, system_attrs={"fixed_params": {RATE: 1e-3}},
        user_attrs=TrialRecord.attributes(ordinal=0, **whose),
    ))  # fmt: skip
    assert baseline_of(study) is None


def test_a_grid_and_a_search_without_a_known_point_have_no_baseline() -> None:
    grid = study_of(0.5, sampler="grid")
    assert baseline_of(grid) is None
    assert baseline_of(optuna.create_study()) is None


def test_a_conclusion_from_before_has_no_certainty() -> None:
    stored = {"trials": [3, 0], "best": 2, "predict": True, "submissions": [], "metrics": {}, "unknown": 1}
    assert Conclusion.load(stored).certainty is None
    again = Conclusion.load(json.loads(json.dumps(Conclusion([1, 0], 0, certainty=Certainty(0)).dump())))
    assert again.certainty == Certainty(0)


def test_an_ensemble_that_is_submitted_leaves_the_final_score_to_the_winner() -> None:
    study = study_of(0.5, 0.8, 0.79, 0.81)
    made = Ensembled(
        "soup", True, "better on the 50 rows that chose nothing", [3, 1], ["a", "b"], 0.9, 0.7, 0.01
    )
    StudyRecord(study).conclusion = Conclusion(
        [4, 0], 3, submissions=["out/test.tsv"], metrics={"final_accuracy": 0.7}, ensemble=made
    )
    told = of_study(study, works=False)
    assert "Final score, of the winner alone, on rows that chose nothing: `final_accuracy` 0.7000" in told
    assert "The kept checkpoints together: soup of trials 3, 1: 0.9000, the winner alone 0.7000" in told
    assert "these rows chose it over the winner" in told
    assert "The predictions of the test split by several checkpoints together: `" in told
