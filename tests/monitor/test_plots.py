"""What a finished study leaves on its parent run, and which parameters it finds to matter."""

import json
import logging
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest
from optuna.study import Study
from optuna.trial import TrialState, create_trial

from finesweep.monitor.plots import MAX_PARAMS, draw
from finesweep.monitor.publish import publish
from finesweep.study.importance import MIN_TRIALS, importances, searched
from finesweep.study.ranking import pareto_front
from finesweep.study.records import Conclusion, TrialRecord

PNG = b"\x89PNG"
RATE, BATCH = "optimizer.learning_rate", "trainer.per_device_train_batch_size"
MOMENTUM = "optimizer.momentum|optimizer=sgd"
SINGLE = {"optimization_history", "slice", "parallel_coordinate", "param_importances"}


def made(n_trials: int, objectives: tuple[str, ...] = ("accuracy",), equal: bool = False) -> Study:
    """A study in memory: the learning rate decides, the batch size does nothing, momentum is sgd's alone."""
    study = optuna.create_study(
        directions=["maximize" if name == "accuracy" else "minimize" for name in objectives],
        sampler=optuna.samplers.RandomSampler(seed=0),
    )
    for _ in range(n_trials):
        trial = study.ask()
        rate = trial.suggest_float(RATE, 0, 1)
        trial.suggest_categorical(BATCH, [8, 16, None])
        if trial.suggest_categorical("optimizer", ["adamw", "sgd"]) == "sgd":
            trial.suggest_float(MOMENTUM, 0.0, 0.9)
        TrialRecord(trial).run_id = "r"
        TrialRecord(trial).overrides = [f"{RATE}={rate}"]
        study.tell(trial, [0.5 if equal else 1 - (rate - 0.3) ** 2, *(rate for _ in objectives[1:])])
    study.set_user_attr("metric", objectives[0])
    study.set_user_attr("objectives", dict.fromkeys(objectives, "-"))
    return study


class Parent:
    """A run that keeps what is logged."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self.files: dict[str, Path] = {}

    def log_text(self, text: str, artifact_file: str) -> None:
        self.texts[artifact_file] = text

    def log_file(self, path: Path, artifact_path: str | None = None) -> None:
        self.files[f"{artifact_path}/{path.stem}"] = path  # may be read much later, out of the spool


def published(study: Study, conclusion: Conclusion | None = None) -> Parent:
    parent = Parent()
    publish(study, parent, Path("study"), conclusion)  # type: ignore[arg-type]
    return parent


def test_the_parent_run_gets_pictures_and_the_best_trial(tmp_path: Path) -> None:
    study = made(MIN_TRIALS + 2)
    parent = published(study, Conclusion([1, 0], 0, True, ["a.tsv", "b.tsv"], {"final_accuracy": 0.9}))
    assert set(parent.files) == {f"plots/{name}" for name in SINGLE}
    assert all(path.read_bytes().startswith(PNG) for path in parent.files.values())
    best = json.loads(parent.texts["best.json"])
    assert best["trial"] == study.best_trial.number and best["value"] == study.best_value
    assert best["submission"] == str(tmp_path / "a.tsv") and best["final_metrics"] == {"final_accuracy": 0.9}
    assert "pareto.json" not in parent.texts


def test_several_objectives_each_have_their_pictures_and_a_front() -> None:
    objectives = ("accuracy", "train_runtime", "loss")
    study = made(MIN_TRIALS + 2, objectives)
    parent = published(study)
    each = {"optimization_history", "slice", "param_importances"}
    names = {f"plots/{name}-{objective}" for name in each for objective in objectives}
    fronts = {"plots/pareto_front-train_runtime", "plots/pareto_front-loss"}
    assert set(parent.files) == names | fronts | {"plots/parallel_coordinate"}
    front = json.loads(parent.texts["pareto.json"])
    assert [point["trial"] for point in front] == [t.number for t in pareto_front(study)]
    assert tuple(front[0]["values"]) == objectives


def test_intermediate_values_are_drawn_where_there_are_any(tmp_path: Path) -> None:
    study = made(2)
    study.add_trial(create_trial(state=TrialState.PRUNED, intermediate_values={5: 0.1, 10: 0.2}))
    assert tmp_path / "intermediate_values.png" in list(draw(study, tmp_path))


@pytest.mark.parametrize("equal", [False, True])
def test_what_cannot_be_drawn_is_left_out_with_a_word(caplog: pytest.LogCaptureFixture, equal: bool) -> None:
    study = made(MIN_TRIALS if equal else 1, equal=equal)
    with caplog.at_level(logging.INFO):
        parent = published(study)
    assert set(parent.files) == {f"plots/{name}" for name in SINGLE - {"param_importances"}}
    assert "plot param_importances left out" in caplog.text
    assert "best.json" in parent.texts


def test_a_broken_picture_does_not_cost_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("finesweep.monitor.plots.pictures.plot_slice", lambda *_, **__: 1 / 0)
    assert set(published(made(MIN_TRIALS)).files) == {f"plots/{name}" for name in SINGLE - {"slice"}}


def test_drawing_leaves_no_figure_open_and_no_style_behind(tmp_path: Path) -> None:
    import matplotlib.pyplot as plt

    before = dict(plt.rcParams)
    list(draw(made(MIN_TRIALS), tmp_path))
    assert plt.get_fignums() == []
    assert dict(plt.rcParams) == before


def test_many_parameters_and_trials_stay_a_picture_that_can_be_read(tmp_path: Path) -> None:
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    names = [f"model.a_rather_long_name_of_a_parameter_{index}" for index in range(20)]
    for _ in range(60):
        trial = study.ask()
        values = [trial.suggest_float(name, 0, 1) for name in names]
        trial.report(values[0], 50)
        study.tell(trial, values[0])
    study.set_user_attr("objectives", {"accuracy": "maximize"})
    drawn = list(draw(study, tmp_path))
    assert {path.stem for path in drawn} == SINGLE | {"intermediate_values"}
    width_of = {path.stem: int.from_bytes(path.read_bytes()[16:20]) for path in drawn}  # PNG's IHDR
    assert width_of["slice"] < 500 * MAX_PARAMS and width_of["intermediate_values"] < 1200


def test_the_parameter_that_matters_is_found_also_among_conditional_ones() -> None:
    shares = importances(made(40))
    assert next(iter(shares)) == RATE
    assert shares[RATE] > 0.5
    assert MOMENTUM in shares
    assert sum(shares.values()) == pytest.approx(1)


def test_importances_with_several_objectives_are_those_of_the_front() -> None:
    shares = importances(made(40, ("accuracy", "train_runtime")))
    assert next(iter(shares)) == RATE


@pytest.mark.parametrize(("n_trials", "equal"), [(0, False), (MIN_TRIALS - 1, False), (40, True)])
def test_no_importances_rather_than_meaningless_ones(n_trials: int, equal: bool) -> None:
    assert importances(made(n_trials, equal=equal)) == {}


def test_trials_that_confirm_or_repeat_others_do_not_count() -> None:
    study = made(3)
    for attrs in ({"confirms": 0, "seed": 43}, {"reused_of": 0}):
        study.add_trial(create_trial(value=9.0, user_attrs=TrialRecord.attributes(**attrs)))
    study.add_trial(create_trial(value=0.1))
    search = searched(study)
    states = [trial.state.name for trial in search.get_trials()]
    assert states == ["COMPLETE"] * 3 + ["FAIL"] * 2 + ["COMPLETE"]  # so that numbers stay
    assert search.best_value < 9.0


def test_a_thousand_trials_have_importances_in_a_moment() -> None:
    study = made(1000, ("accuracy", "train_runtime"))
    start = time.perf_counter()
    assert importances(study)
    assert time.perf_counter() - start < 10  # 0.2 s on an idle core


def test_status_needs_neither_matplotlib_nor_mlflow() -> None:
    code = (
        "import sys, finesweep.monitor.report, finesweep.monitor.progress, finesweep.monitor.table;"
        "print([m for m in ('torch', 'mlflow', 'matplotlib', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
