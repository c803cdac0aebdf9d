"""How two runs are compared, when they count as the same, and which runs cannot be made again."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import finesweep
from finesweep.config.parse import to_dict
from finesweep.config.run import RunConfig, TrackingConfig
from finesweep.errors import ConfigError, RunError
from finesweep.hooks import TrialPruned, current_hooks
from finesweep.provenance import Provenance
from finesweep.provenance.differences import cause, differences
from finesweep.provenance.fields import Change, Code, Machine, Model, Onednn, Results, Split
from finesweep.reproduce import render
from finesweep.reproduce.export import export
from finesweep.reproduce.rebuild import rebuild
from finesweep.reproduce.recorded_run import RecordedRun, load_recorded_run, store_differences
from finesweep.reproduce.rerun import Reproduction, rerun
from finesweep.reproduce.seeds import prediction_interval, train_seeds
from finesweep.reproduce.verdict import judge
from finesweep.study.storage import open_storage
from finesweep.tracking import TrackedRun, open_store, record_run, start_run
from finesweep.training.run import run
from finesweep.training.trainer import WholeCheckpointTrainer

Compose = Callable[..., RunConfig]
TRACKING = TrackingConfig()
RECORD = Provenance(
    config=to_dict(RunConfig()) | {"data": {"metric": "accuracy"}, "model": {"name_or_path": "a"}},
    overrides=[],
    seeds={"seed": 42},
    machine=Machine(
        "3.11.7", "Linux", "AMD EPYC", 1, "cpu", "fp32", "AVX512", Onednn("3.12.0", "AVX2"), None, {}
    ),
    packages={"torch": "2.13.0", "rich": "14.0.0"},
    code=Code("c" * 40, [], None, {"finesweep/training/run.py": "a" * 64}),
    model=Model("folder", {"config.json": "b" * 64}),
    data={
        "train": Split(2, "s", {"text": "d", "label": "e"}, {"input_ids": "f"}),
        "eval": Split(1, "t", {"text": "g", "label": "h"}),
    },
    results=Results(weights_sha256="w", predictions={"eval": "p"}),
)
HISTORY = {("loss", 5): 0.7, ("eval_accuracy", 5): 0.5, ("grad_norm", 5): 1.0, ("best_value", 5): 0.5}


def recorded(history: dict[tuple[str, int], float] = HISTORY, **results: Any) -> RecordedRun:
    record = replace(RECORD, results=replace(RECORD.results, **results))
    return RecordedRun("id", "name", "COMPLETE", {}, record, history)


def changed(path: str, value: object) -> Provenance:
    """Returns RECORD with another value at a dotted path, in which `|` stands for the dot of a key."""
    stored = json.loads(RECORD.to_json())
    *parents, last = path.split(".")
    node = stored
    for key in parents:
        node = node[key]
    node[last.replace("|", ".")] = value
    return Provenance.from_json(json.dumps(stored), "here")


@pytest.mark.parametrize(
    ("history", "results", "verdict"),
    [
        ({}, {}, "EXACT"),
        ({}, {"weights_sha256": "other"}, "WITHIN_TOLERANCE"),
        ({}, {"predictions": {"eval": "other"}}, "WITHIN_TOLERANCE"),
        ({("loss", 5): 0.7 + 1e-9}, {}, "WITHIN_TOLERANCE"),
        ({("loss", 5): 0.71}, {}, "WITHIN_TOLERANCE"),
        ({("loss", 5): 0.73}, {}, "DIFFERENT"),
        ({("grad_norm", 5): 3.0}, {}, "WITHIN_TOLERANCE"),
        ({("eval_accuracy", 10): 0.5}, {}, "DIFFERENT"),
    ],
)
def test_verdicts(history: dict[tuple[str, int], float], results: dict[str, Any], verdict: str) -> None:
    assert judge(recorded(), recorded(HISTORY | history, **results), [], 0.02).verdict == verdict


def test_large_values_are_compared_by_their_relative_difference() -> None:
    then, now = (recorded({("loss", 5): value}) for value in (200.0, 203.0))
    assert judge(then, now, [], 0.02).verdict == "WITHIN_TOLERANCE"
    assert judge(then, now, [], 0.01).verdict == "DIFFERENT"


def test_the_best_values_are_compared_also_if_their_steps_differ() -> None:
    moved = {key: value for key, value in HISTORY.items() if key[0] != "best_value"} | {
        ("best_value", 9): 0.5
    }
    assert judge(recorded(), recorded(moved), [], 0.02).verdict == "EXACT"


@pytest.mark.parametrize(
    ("path", "value", "what", "may_matter"),
    [
        ("config.seed", 43, "seed", True),
        ("config.optimizer.learning_rate", 1.0, "optimizer.learning_rate", True),
        ("data.train.rows", 3, "data train: rows", True),
        ("data.train.columns.label", "x", "data train: column label", True),
        ("model.files.config|json", "x", "model files.config.json", True),
        ("code.files.finesweep/training/run|py", "x", "code finesweep/training/run.py", True),
        ("code.files.finesweep/cli/main|py", "x", "code finesweep/cli/main.py", False),
        ("code.files.finesweep/monitor/eta|py", "x", "code finesweep/monitor/eta.py", False),
        ("code.commit", "x", "git commit", False),
        ("machine.threads", 2, "threads", True),
        ("machine.python", "3.12.0", "python", False),
        ("packages.torch", "2.13.1", "package torch", True),
        ("packages.rich", "14.0.1", "package rich", False),
    ],
)
def test_each_difference_is_named_and_weighed(path: str, value: object, what: str, may_matter: bool) -> None:
    (change,) = differences(RECORD, changed(path, value))
    assert (change.what, change.now, change.may_matter) == (what, value, may_matter)


def test_no_file_that_only_reads_runs_is_named_as_the_cause_of_other_weights() -> None:
    source = Path(finesweep.__file__).parent
    observing = [path for room in ("monitor", "reproduce", "cli") for path in (source / room).glob("*.py")]
    assert len(observing) > 20
    for path in observing:
        name = f"finesweep/{path.relative_to(source)}"
        changes = differences(RECORD, changed(f"code.files.{name.replace('.', '|')}", "edited"))
        assert cause(changes) == f"no recorded difference that should matter; also different: code {name}"


def test_token_ids_that_differ_of_equal_rows_are_one_difference() -> None:
    (change,) = differences(RECORD, changed("data.train.encoded", {"input_ids": "x", "length": "y"}))
    assert change.what == "data train, as encoded: input_ids, length"


@pytest.mark.parametrize("path", ["config.cache_dir", "config.tracking.uri", "config.trainer.threads"])
def test_places_are_compared_only_side_by_side(path: str) -> None:
    assert differences(RECORD, changed(path, "elsewhere")) == []
    (change,) = differences(RECORD, changed(path, "elsewhere"), places=True)
    assert not change.may_matter


def test_the_cause_names_the_differences_that_may_matter() -> None:
    hint = Change("packages", "package rich", "1", "2", may_matter=False)
    assert cause([]) == "no recorded difference"
    assert cause([hint]) == "no recorded difference that should matter; also different: package rich"
    assert cause([Change("machine", "threads", 1, 2), hint]) == "threads (1 then, 2 now)"
    many = [Change("config", key, 1, 2) for key in "abcde"]
    assert cause(many) == "a (1 then, 2 now); b (1 then, 2 now); c (1 then, 2 now); and 2 more"


def test_the_prediction_interval_is_students_t() -> None:
    assert prediction_interval([0.5]) is None
    assert prediction_interval([0.5, 0.5]) == (0.5, 0.5)
    low, high = prediction_interval([0.4, 0.5, 0.6]) or (0, 0)
    assert (low + high) / 2 == pytest.approx(0.5)
    quantile = 4.30265  # Student's t, 2 degrees of freedom, 97.5%
    assert (high - low) / 2 == pytest.approx(quantile * 0.1 * (4 / 3) ** 0.5, rel=1e-4)


class Pruned(Reproduction):
    """The hooks of a trial that is pruned at its second evaluation."""

    def __init__(self) -> None:
        self.evaluations = 0

    run_name, tags, predicts = "pruned", {"finesweep.study": "s"}, False  # type: ignore[assignment]
    metrics = frozenset()  # type: ignore[assignment]

    def started(self, run_id: str) -> None:
        self.run_id = run_id

    def evaluated(self, value: float, progress: float) -> None:
        self.evaluations += 1
        if self.evaluations == 2:
            raise TrialPruned


def test_a_pruned_run_is_made_again_up_to_where_it_was_pruned(config: Compose, tmp_path: Path) -> None:
    settings = config("trainer.num_train_epochs=4", "optimizer.learning_rate=1e-3")
    trial = Pruned()
    token = current_hooks.set(trial)
    with pytest.raises(TrialPruned):
        run(settings, tmp_path / "out")
    current_hooks.reset(token)
    then = load_recorded_run(trial.run_id, TRACKING)
    then.check_finished()
    assert then.state == "PRUNED"
    now = rerun(then, rebuild(then, [], TRACKING), [])
    verdict = judge(then, now, [], 0.02)
    assert verdict.verdict == "EXACT"
    assert {row.step for row in verdict.metrics} == {13, 26}
    assert now.state == "PRUNED"


def test_the_final_score_is_compared_too(config: Compose, tmp_path: Path) -> None:
    result = run(config("data.holdout=0.2", "predict=false"), tmp_path / "out")
    then = load_recorded_run(str(result.run_id), TRACKING)
    verdict = judge(then, rerun(then, rebuild(then, [], TRACKING), []), [], 0.0)
    assert verdict.verdict == "EXACT"
    assert "final_accuracy" in {row.name for row in verdict.metrics}


def test_a_training_that_diverges_is_different(config: Compose, tmp_path: Path) -> None:
    result = run(config("predict=false"), tmp_path / "out")
    then = load_recorded_run(str(result.run_id), TRACKING)
    wild = ["optimizer.learning_rate=1e30", "optimizer.max_grad_norm=0", "optimizer.warmup_steps=0"]
    now = rerun(then, rebuild(then, wild, TRACKING), wild)
    verdict = judge(then, now, differences(then.record, now.record), 0.02)
    assert verdict.verdict == "DIFFERENT"
    assert "LossNotFinite" in str(verdict.error)
    assert str(verdict.cause).startswith("optimizer.learning_rate")
    assert now.state == "FAIL"


def test_new_seeds_show_whether_the_result_depends_on_the_seed(config: Compose, tmp_path: Path) -> None:
    result = run(config("predict=false", "optimizer.learning_rate=1e-3"), tmp_path / "out")
    then = load_recorded_run(str(result.run_id), TRACKING)
    spread = train_seeds(then, rebuild(then, [], TRACKING), [], 2, [])
    values = [seed.value for seed in spread.seeds if seed.value is not None]
    assert [seed.seed for seed in spread.seeds] == [10_042, 10_043]
    assert spread.mean == pytest.approx(sum(values) / 2)
    assert spread.std == pytest.approx(abs(values[0] - values[1]) / 2**0.5)
    assert spread.value == result.value
    assert spread.better == sum(value > spread.value for value in values)
    assert spread.interval is not None
    assert spread.luck is not (spread.interval[0] - 1e-9 <= spread.value <= spread.interval[1] + 1e-9)
    again = load_recorded_run(spread.seeds[0].run_id, TRACKING)
    assert (again.tags["finesweep.kind"], again.record.config["seed"]) == ("reseed", 10_042)
    assert "2 new seeds: mean" in render.seed_spread(spread)


def test_metrics_that_others_log_later_are_not_compared(config: Compose, tmp_path: Path) -> None:
    result = run(config("predict=false"), tmp_path / "out")
    tracked = TrackedRun(open_store(TRACKING), str(result.run_id))
    before = load_recorded_run(tracked.run_id, TRACKING)
    tracked.log_metrics({"human_score": 3.0}, step=1)
    assert load_recorded_run(tracked.run_id, TRACKING).history == before.history
    assert store_differences(before) == []
    tracked.log_metrics({"eval_accuracy": 0.9}, step=99)
    (change,) = store_differences(load_recorded_run(tracked.run_id, TRACKING))
    assert change.what == "metrics in the store"


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_a_training_that_resumed_with_other_threads_names_them(
    config: Compose, tmp_path: Path, threads: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = config("trainer.threads=null", "trainer.num_train_epochs=2", "predict=false")
    step = WholeCheckpointTrainer.training_step

    def interrupt(self: WholeCheckpointTrainer, *args: object, **kwargs: object) -> torch.Tensor:
        if self.state.global_step == 15:
            raise KeyboardInterrupt
        return step(self, *args, **kwargs)

    torch.set_num_threads(1)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(WholeCheckpointTrainer, "training_step", interrupt)
        run(settings, tmp_path / "out")
    torch.set_num_threads(2)
    result = run(settings, tmp_path / "out")
    record = load_recorded_run(str(result.run_id), TRACKING).record
    assert [change.what for change in record.mixed] == ["threads, while interrupted"]
    assert cause(differences(record, record)[:1]) == "threads, while interrupted (1 then, 2 now)"


def test_a_run_that_did_not_finish_is_refused(config: Compose, tmp_path: Path) -> None:
    settings = config("optimizer.learning_rate=1e30", "optimizer.max_grad_norm=0", "optimizer.warmup_steps=0")
    with pytest.raises(ArithmeticError):
        run(settings, tmp_path / "out")
    (result,) = [json.loads((tmp_path / "out/result.json").read_text())]
    with pytest.raises(RunError, match=r"not finished \(failed\)"):
        load_recorded_run(result["run_id"], TRACKING).check_finished()


def test_a_run_that_did_not_train_is_refused_with_the_one_to_name_instead(tmp_path: Path) -> None:
    study = start_run(TRACKING, "demo", "s", {"finesweep.kind": "study", "finesweep.study": "s"})
    with pytest.raises(RunError, match="legal: --best s"):
        load_recorded_run(study.run_id, TRACKING)
    reused = record_run(TRACKING, "demo", "t", {"finesweep.study": "s", "finesweep.reused_of": "3"})
    with pytest.raises(RunError, match="took its value from trial 3 of study 's'"):
        load_recorded_run(reused.run_id, TRACKING)
    bare = start_run(TRACKING, "demo", "x", {"finesweep.kind": "run"})
    with pytest.raises(RunError, match="it has no provenance.json"):
        load_recorded_run(bare.run_id, TRACKING)
    with pytest.raises(RunError, match="no folder that `finesweep export` made"):
        load_recorded_run(str(tmp_path), TRACKING)


def test_an_exported_folder_that_was_edited_is_refused(config: Compose, tmp_path: Path) -> None:
    result = run(config("predict=false"), tmp_path / "out")
    folder = tmp_path / "exported"
    assert export(load_recorded_run(str(result.run_id), TRACKING), folder, TRACKING) == ["submission"]
    kept = json.loads((folder / "run.json").read_text())
    for edit, problem in (
        ({"run_id": "/etc/passwd"}, "no folder that"),
        ({"metrics": []}, "not those that provenance.json was written for"),
        ({"state": 5}, "no folder that"),
    ):
        (folder / "run.json").write_text(json.dumps(kept | edit))
        with pytest.raises(RunError, match=problem):
            load_recorded_run(str(folder), TRACKING)


def test_damaged_weights_are_not_exported(config: Compose, tmp_path: Path) -> None:
    result = run(config("predict=false"), tmp_path / "out")
    (weights,) = Path("mlruns/artifacts").glob("*/models/*/artifacts/model.safetensors")
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    missing = export(load_recorded_run(str(result.run_id), TRACKING), tmp_path / "exported", TRACKING)
    assert missing[1].startswith("checkpoint (it is damaged: model.safetensors")
    assert not (tmp_path / "exported/checkpoint").exists()


def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    open_store(TRACKING)
    open_storage("sqlite:///mlruns/optuna.db")
    with pytest.raises(ConfigError, match="but not MLflow's"):
        open_store(TrackingConfig("sqlite:///mlruns/optuna.db"))
    with pytest.raises(ConfigError, match="but not Optuna's"):
        open_storage("sqlite:///mlruns/mlflow.db")


def test_the_values_in_use_are_pinned_and_overrides_win(config: Compose, tmp_path: Path) -> None:
    settings = config("trainer.threads=null", "predict=false")
    result = run(settings, tmp_path / "out")
    then = load_recorded_run(str(result.run_id), TRACKING)
    pinned = rebuild(then, ["optimizer.learning_rate=0.5"], TRACKING)
    assert pinned.trainer.threads == then.record.machine.threads
    assert pinned.trainer.device == "cpu"
    assert pinned.trainer.precision.value == then.record.machine.precision
    assert pinned.optimizer.learning_rate == 0.5
    assert pinned.predict is False
    with pytest.raises(ConfigError, match="trainer: not an override"):
        rebuild(then, ["trainer"], TRACKING)


@pytest.mark.parametrize(
    ("override", "weights"),
    [
        ("data.class_weights={not_entailment: 3}", {"not_entailment": 3}),
        ("data.class_weights.entailment=3", {"entailment": 3, "not_entailment": 1}),
        ("data.class_weights=balanced", "balanced"),
        ("data.class_weights=null", None),
    ],
)
def test_an_override_of_a_dictionary_replaces_the_recorded_one(
    config: Compose, override: str, weights: object
) -> None:
    recorded_config = to_dict(config("data.class_weights={entailment: 2, not_entailment: 1}"))
    then = replace(recorded(), record=replace(RECORD, config=recorded_config))
    assert rebuild(then, [override], TRACKING).data.class_weights == weights
