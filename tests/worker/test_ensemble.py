"""The kept checkpoints together are submitted where rows that chose nothing say so, and are made again."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import optuna
import pytest
from labelled import CLASSIFICATION, NAMES, task
from optuna.trial import create_trial
from processes import finesweep, train
from sweeping import STORAGE, evaluate, sweep

from finesweep.cli.submit import _submissions
from finesweep.config.run import Direction, RunConfig, TrackingConfig
from finesweep.config.study import Ensemble, StudyConfig
from finesweep.errors import ConfigError
from finesweep.hooks import RunHooks
from finesweep.io import checkpoint
from finesweep.monitor.certainty import ensembled
from finesweep.reproduce import together
from finesweep.reproduce.rebuild import rebuild
from finesweep.reproduce.recorded_run import load_recorded_run
from finesweep.reproduce.verdict import DIFFERENT, EXACT
from finesweep.study import studies
from finesweep.study.backend import cached
from finesweep.study.ensemble import Ensembled
from finesweep.study.places import places_of
from finesweep.study.ranking import best_first
from finesweep.study.records import Conclusion, Request, StudyRecord, TrialRecord
from finesweep.study.remaining import _is_tried_together
from finesweep.study.storage import open_storage
from finesweep.tasks import Scorer
from finesweep.tasks.evaluated import Evaluated
from finesweep.training.ensembles import Together
from finesweep.training.inputs import load_inputs
from finesweep.training.predict import Predicted
from finesweep.worker import ensemble

SWEEP = ("data.demo_rows=400", "data.holdout=0.25", "trainer.num_train_epochs=1", "trainer.threads=1",
         "trainer.per_device_train_batch_size=16", "optimizer.learning_rate=1e-3,2e-3",
         "tracking.system_metrics=false", "hydra.sweeper.study.name=both", "hydra.sweeper.workers=2",
         "hydra.sweeper.study.ensemble=soup")  # fmt: skip


def test_what_came_of_it_is_said() -> None:
    made = Ensembled(
        "soup", True, "better on the 277 rows that chose nothing", [9, 4], ["a", "b"], 0.75, 0.7, 0.01
    )
    assert ensembled(made) == (
        "soup of trials 9, 4: 0.7500, the winner alone 0.7000 (p=0.01): better on the 277 rows that chose "
        "nothing; submitted; these rows chose it over the winner"
    )
    worse = replace(made, is_submitted=False, p=0.4, reason="not better on the 277 rows that chose nothing")
    assert ensembled(worse).endswith("(p=0.4): not better on the 277 rows that chose nothing; the winner is "
                                     "submitted alone")  # fmt: skip
    alone = Ensembled("mean", False, "no other kept checkpoint raises the score")
    assert (
        ensembled(alone) == "mean: no other kept checkpoint raises the score; the winner is submitted alone"
    )
    assert ensembled(None) == ""
    assert (
        Conclusion.load(json.loads(json.dumps(Conclusion([1, 0], 0, ensemble=made).dump()))).ensemble == made
    )


def test_without_rows_that_chose_nothing_it_is_refused() -> None:
    def training(config: RunConfig, trial: RunHooks) -> float:
        return evaluate(trial, [0.5])

    with pytest.raises(
        ConfigError, match="study.ensemble: got 'soup'; legal: none, or with rows that choose"
    ):
        sweep(training, "optimizer.learning_rate=1e-3,2e-3", "hydra.sweeper.study.ensemble=soup")


def test_with_one_kept_checkpoint_it_is_refused() -> None:
    given = ("data.holdout=0.1", "hydra.sweeper.study.ensemble=soup", "hydra.sweeper.keep_checkpoints=1")
    with pytest.raises(ConfigError, match="keep_checkpoints: got 1; legal: 2 or more with hydra.sweeper"):
        sweep(lambda _, trial: evaluate(trial, [0.5]), "optimizer.learning_rate=1e-3,2e-3", *given)


class Group(Together):
    """Whose members are right on every row, though each alone is right on half of them."""

    def outputs(self, members: Any, rows: Any) -> Any:
        labels = np.arange(100) % 2
        right = np.arange(100) < (100 if len(members) > 1 else 50)
        return np.eye(2)[np.where(right, labels, 1 - labels)] * 10, labels

    def final_rows(self) -> Any:
        return range(100)

    def write(self, members: Any, output_dir: Path) -> list[Path]:
        output_dir.mkdir()
        (output_dir / "test.tsv").write_text(",".join(member.name for member in members))
        return [output_dir / "test.tsv"]


class Worse(Group):
    """Whose members together are right on fewer rows than each alone."""

    def outputs(self, members: Any, rows: Any) -> Any:
        labels = np.arange(100) % 2
        right = np.arange(100) < (60 if rows == range(100) or len(members) == 1 else 100)
        return np.eye(2)[np.where(right, labels, 1 - labels)] * 10, labels


class Diverged(Group):
    """Whose members together give no numbers."""

    def outputs(self, members: Any, rows: Any) -> Any:
        logits, labels = super().outputs(members, rows)
        return logits * (np.nan if rows == range(100) else 1), labels


def submitted(
    monkeypatch: pytest.MonkeyPatch,
    rights: int,
    group: type[Group] = Group,
    predict: bool = True,
    chose: Sequence[str] = (),
) -> tuple[Ensembled, Predicted, Any]:
    """Tries two checkpoints together; the winner alone is right on `rights` of the last 100 rows."""
    of, names = task(CLASSIFICATION), NAMES[CLASSIFICATION]
    inputs = SimpleNamespace(task=of, names=names, eval=range(50, 150))
    trials = [create_trial(value=0.5, user_attrs=TrialRecord.attributes(run_id=name)) for name in "ab"]
    kept = dict(zip([Path("one"), Path("two")], trials, strict=True))
    monkeypatch.setattr(ensemble, "load_inputs", lambda _: inputs)
    monkeypatch.setattr(ensemble, "Together", group)
    monkeypatch.setattr(ensemble, "_candidates", lambda *_: iter(kept.items()))
    scorer, labels = Scorer(of, names), np.arange(100) % 2
    said = np.where(np.arange(100) < rights, labels, 1 - labels)
    scorer.evaluated = Evaluated(np.eye(2)[said], labels)
    single = Predicted({"final_accuracy": rights / 100}, [Path("single.tsv")], scorer)
    study = optuna.create_study(direction="maximize")
    StudyRecord(study).final_chose = [*chose]
    queue, parent = SimpleNamespace(config=StudyConfig(ensemble=Ensemble.mean), study=study), MagicMock()
    config = RunConfig()
    config.data.metric, config.predict = "accuracy", predict
    made, found = ensemble.submit_together(queue, trials[0], config, single, Path("out"), parent)  # type: ignore[arg-type]
    return made, found, parent


def test_members_that_are_better_together_are_submitted_with_their_recipe(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made, found, parent = submitted(monkeypatch, rights=60)
    assert made.is_submitted and (made.value, made.single, made.run_ids) == (1.0, 0.6, ["a", "b"])
    assert found.submissions == [Path("out/test.tsv")]
    assert found.metrics["final_accuracy"] == 0.6  # the winner's: these rows chose the ensemble
    assert parent.log_metrics.call_args.args[0]["ensemble_accuracy"] == 1.0
    assert made.files == {"test.tsv": checkpoint.sha256(Path("out/test.tsv"))}
    assert json.loads(Path("out/source.json").read_text())["run_ids"] == ["a", "b"]
    assert [call.args for call in parent.log_file.call_args_list] == [
        (Path("out/test.tsv"), "submission"), (Path("out/source.json"), "submission")
    ]  # fmt: skip


@pytest.mark.parametrize(("rights", "stays"), [(60, False), (97, True)])
def test_without_an_ensemble_a_study_that_submitted_one_is_concluded_anew(
    monkeypatch: pytest.MonkeyPatch, rights: int, stays: bool
) -> None:
    made, *_ = submitted(monkeypatch, rights)
    opened: Any = SimpleNamespace(config=StudyConfig(ensemble=Ensemble.none))
    assert _is_tried_together(opened, Conclusion([1, 0], 0, ensemble=made)) == stays


def test_members_that_are_not_surely_better_leave_the_submission_to_the_winner(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made, found, parent = submitted(monkeypatch, rights=97)
    assert not made.is_submitted and made.p == pytest.approx(0.25)
    assert made.reason == "not surely better on the 100 rows that chose nothing"
    assert found.submissions == [Path("single.tsv")] and not parent.method_calls and not Path("out").exists()


def test_a_metric_that_takes_long_is_not_tested(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("finesweep.tasks.resampling.SLOW_S", -1.0)
    made, found, _ = submitted(monkeypatch, rights=60)
    assert not made.is_submitted and found.submissions == [Path("single.tsv")]
    assert made.reason.startswith("there is no test: the metric takes 0.0 s for its rows, and would be")


def test_rows_that_chose_in_an_earlier_study_are_not_said_to_have_chosen_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made, *_ = submitted(monkeypatch, rights=60, chose=["earlier"])
    assert made.reason == "better on the 100 rows of the final score, which were used in earlier"


def test_members_that_are_surely_worse_together_leave_the_submission_to_the_winner(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made, found, _ = submitted(monkeypatch, rights=95, group=Worse)
    assert made.p is not None and made.p < 0.05 and (made.value, made.single) == (0.6, 0.95)
    assert not made.is_submitted and found.submissions == [Path("single.tsv")]


def test_without_a_test_split_nothing_counts_as_submitted(monkeypatch: pytest.MonkeyPatch) -> None:
    made, found, parent = submitted(monkeypatch, rights=60, predict=False)
    assert not made.is_submitted and made.files == {} and not parent.method_calls
    assert made.reason == "better on the 100 rows that chose nothing, but no test split is predicted"
    assert found.submissions == [Path("single.tsv")]


def test_outputs_that_are_no_numbers_leave_the_submission_to_the_winner(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made, found, _ = submitted(monkeypatch, rights=60, group=Diverged)
    assert not made.is_submitted and found.submissions == [Path("single.tsv")]
    assert ensembled(made) == (
        "mean: their outputs are not finite on the rows of the final score; the winner is submitted alone"
    )


def kept(name: str, tokenizer: str = "a", max_length: int = 128) -> Path:
    folder = Path(name)
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "config.json").write_text('{"hidden_size": 3}')
    stored = {"model": {"vocab": tokenizer}, "truncation": {"max_length": len(name)}}
    (folder / "tokenizer.json").write_text(json.dumps(stored))
    (folder / "finesweep.json").write_text(json.dumps({"model": {"max_length": max_length}}))
    checkpoint.write_manifest(folder)
    return folder


def candidates(folders: list[str], winners: Path) -> list[str]:
    study = optuna.create_study(direction="maximize")
    for place, folder in enumerate(folders):
        attrs = TrialRecord.attributes(checkpoint=str(Path(folder).resolve()))
        study.add_trial(create_trial(value=1 - place / 10, user_attrs=attrs))
    queue = SimpleNamespace(study=study, places=places_of(study))
    single = Predicted({}, [], folder=winners)
    return [path.name for path, _ in ensemble._candidates(queue, study.trials[0], single)]  # type: ignore[arg-type]


def test_members_are_as_the_winner_whose_checkpoint_may_lie_elsewhere(
    caplog: pytest.LogCaptureFixture,
) -> None:
    kept("wider", max_length=256), kept("other", tokenizer="b"), kept("equal")
    winners = kept("downloaded")
    assert candidates(["gone", "wider", "other", "equal"], winners) == ["downloaded", "equal"]
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
        f"trial {number} is left out of the ensemble" for number in (1, 2)
    ]
    (winners / "adapter_config.json").write_text("{}")
    assert candidates(["gone", "equal"], winners) == []


def test_a_winner_that_stays_alone_has_a_reason() -> None:
    one, two = create_trial(value=0.5), create_trial(value=0.4)
    paths = {Path("one"): one, Path("two"): two}
    reasons = [
        ensemble._made(Ensemble.soup, some, list(some)[:1]).reason for some in ({}, {Path("one"): one}, paths)
    ]
    assert [reason.split()[0] for reason in reasons] == ["the", "no", "each"]


@pytest.mark.parametrize("has_checkpoints", [True, False])
def test_a_member_without_a_checkpoint_is_a_verdict_not_an_error(
    has_checkpoints: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folders = {name: tmp_path / name for name in ("a", "b")}
    for name, folder in folders.items():
        if has_checkpoints or name == "a":
            (folder / "checkpoint").mkdir(parents=True)
    monkeypatch.setattr(together, "load_recorded_run", lambda run_id, _: MagicMock(run_id=run_id))
    monkeypatch.setattr(together, "new_folder", folders.get)
    monkeypatch.setattr(together, "rebuild", MagicMock())
    verdict = MagicMock(verdict=EXACT)
    monkeypatch.setattr(together, "_member", lambda *_: verdict)
    monkeypatch.setattr(together, "_predicted", lambda *_: {"test.tsv": "hash"})
    again = together.remake(Ensemble.mean, ["a", "b"], {"test.tsv": "hash"}, TrackingConfig(), [], 0.0)
    assert again.verdict == (EXACT if has_checkpoints else DIFFERENT)
    assert again.files["test.tsv"]["now"] == ("hash" if has_checkpoints else None)


@pytest.mark.long
def test_a_submission_of_two_is_made_again_to_the_last_byte(tmp_path: Path) -> None:
    """Whether two small models are better together is chance, so the study is told that they were."""
    done = train("-m", *SWEEP, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "ensemble:     soup" in done.stdout
    study = studies.load("both", STORAGE)
    record, places = StudyRecord(study), places_of(study)
    conclusion = record.conclusion
    assert conclusion is not None and conclusion.ensemble is not None
    winner, other = best_first(study)[:2]
    records = [TrialRecord(winner), TrialRecord(other)]
    config = rebuild(load_recorded_run(str(records[0].run_id), TrackingConfig()), [], TrackingConfig())
    both = Together(Ensemble.soup, config, load_inputs(config))
    paths = both.write([places.find(str(one.checkpoint)) for one in records], tmp_path / "then")
    made = Ensembled(
        "soup", True, "", [winner.number, other.number], [str(one.run_id) for one in records],
        files={path.name: checkpoint.sha256(path) for path in paths},
    )  # fmt: skip
    record.conclusion = replace(conclusion, ensemble=made)
    again = finesweep("reproduce", "--submission", "both", "--json", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    answer = json.loads(again.stdout)
    assert (
        answer["verdict"] == "EXACT" and len(answer["members"]) == 2 and list(answer["files"]) == ["test.tsv"]
    )
    assert "nothing to do" in train("-m", *SWEEP, cwd=tmp_path).stderr


def test_files_of_several_checkpoints_are_said_to_be_theirs(tmp_path: Path) -> None:
    """`finesweep submit` names the study's run, which has the files, and the trials that made them."""
    study = studies.create(
        StudyConfig(name="both", storage=STORAGE), {"accuracy": Direction.maximize}, [], {}
    )
    study.add_trial(create_trial(value=0.9, user_attrs=TrialRecord.attributes(run_id="winner")))
    (tmp_path / "RTE.tsv").write_text("")
    made = Ensembled("soup", True, "better", [0, 4], ["winner", "other"])
    StudyRecord(study).write_all(
        glue_task="rte", metric="accuracy", n_trials=1, history=[{}],
        request=Request([], "config", None, None, "", "parent"),
        conclusion=Conclusion([1, 0], 0, submissions=[str(tmp_path / "RTE.tsv")], ensemble=made),
    )  # fmt: skip
    assert _submissions("both", STORAGE) == ("parent", "soup of trials 0, 4", [tmp_path / "RTE.tsv"])
    StudyRecord(study).conclusion = Conclusion([1, 0], 0, submissions=[str(tmp_path / "RTE.tsv")])
    assert _submissions("both", STORAGE) == ("winner", None, [tmp_path / "RTE.tsv"])


def test_a_submission_of_the_winner_alone_is_reproduced_by_best(tmp_path: Path) -> None:
    study = optuna.create_study(study_name="alone", storage=cached(open_storage(STORAGE)))
    made = Ensembled("soup", True, "of an earlier version, without a file", [0, 1], ["a", "b"])
    study.set_user_attr("conclusion", Conclusion([1, 0], 0, ensemble=made).dump())
    done = finesweep("reproduce", "--submission", "alone", cwd=tmp_path)
    assert done.returncode == 2 and "for this one: --best alone" in done.stderr
