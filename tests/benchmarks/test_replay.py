"""Recorded learning curves are the product's own, and a study that is replayed over them is a real one."""

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from omegaconf import OmegaConf
from optuna.trial import TrialState
from processes import ROOT

from finesweep.config.run import RunConfig
from finesweep.config.study import Pruner, StopWhen
from finesweep.hooks import current_watcher
from finesweep.study.ranking import best_first
from finesweep.study.records import TrialRecord

CURVES = ROOT / "benchmarks/curves"
SOME = 17  # trainings, of those that are recorded: the known point and the grid


@pytest.fixture
def curves(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ModuleType]]:
    """Imports a file of `benchmarks/curves`."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(CURVES)
    yield lambda name: __import__(name)
    for name in set(sys.modules) - before:  # names such as `methods` are nobody else's business
        if Path(getattr(sys.modules[name], "__file__", None) or "").parent == CURVES:
            del sys.modules[name]


@pytest.fixture
def replayed(curves: Callable[[str], ModuleType], tmp_path: Path) -> Callable[..., Any]:
    """Replays a study of the demo over a part of its curves."""
    replay, task = curves("replay"), curves("spaces").TASKS["demo"]
    trainings = curves("recorded").read("demo")[:SOME]

    def study(
        seed: int, steps: int = 10**6, workers: int = 2, start_from: Sequence[str] = (), **method: Any
    ) -> Any:
        one = replay.Replay(task, trainings, replay.Method(**method), seed, steps, tmp_path, start_from)
        return one, one.run(workers)

    return study


def test_a_replay_gives_the_same_again_and_another_with_another_seed(replayed: Callable[..., Any]) -> None:
    results = [replayed(seed)[1] for seed in (0, 0, 1)]
    assert results[0] == results[1] != results[2]
    assert {result.trials for result in results} == {SOME}


def test_sampler_and_study_know_the_points_that_were_really_trained(
    replayed: Callable[..., Any], curves: Callable[[str], ModuleType]
) -> None:
    one, result = replayed(0)
    recorded = curves("recorded").read("demo")[:SOME]
    known = sorted(str(sorted(training.point.items())) for training in recorded)
    assert sorted(str(sorted(trial.params.items())) for trial in one.queue.trials()) == known
    values = {(max(training.select), training.untouched[training.select.index(max(training.select))])
              for training in recorded}  # fmt: skip
    assert {(found.select, found.untouched) for found in result.found} <= values
    assert one.queue.study.best_value == result.chosen(10**6).select == max(select for select, _ in values)


def test_a_replay_ends_at_its_budget_of_steps(replayed: Callable[..., Any]) -> None:
    everything = replayed(0, workers=1)[1]
    half = replayed(0, steps=everything.steps // 2, workers=1)[1]
    last = half.found[-1].steps - half.found[-2].steps
    assert everything.steps // 2 <= half.steps < everything.steps // 2 + last
    assert half.found == everything.found[: len(half.found)]


def test_the_grid_trains_each_of_its_points_once(
    replayed: Callable[..., Any], curves: Callable[[str], ModuleType]
) -> None:
    task = curves("spaces").TASKS["demo"]
    one, result = replayed(0, sampler="grid", is_grid=True)
    trained = [str(sorted(trial.params.items())) for trial in one.queue.trials()]
    assert sorted(trained) == sorted(str(sorted(point.items())) for point in task.grid)
    assert result.steps == curves("figures").budget(task, curves("recorded").read("demo"))


def test_the_recipe_begins_with_the_points_of_the_sweeps_file(
    replayed: Callable[..., Any], curves: Callable[[str], ModuleType]
) -> None:
    queued = OmegaConf.load(ROOT / "sweeps/qnli.yaml").hydra.sweeper.enqueue
    assert list(queued) == curves("spaces").TASKS["qnli"].first
    one, _ = replayed(0, begins_known=True)
    assert [trial.params for trial in one.queue.trials()[:5]] == curves("spaces").TASKS["demo"].first


def test_what_a_pruner_stops_costs_only_the_steps_before(replayed: Callable[..., Any]) -> None:
    whole, (one, pruned) = replayed(1)[1], replayed(1, pruner=Pruner.median)
    states = [trial.state for trial in one.queue.trials()]
    assert states.count(TrialState.PRUNED) > 1 and pruned.steps < whole.steps
    assert len(pruned.found) == states.count(TrialState.COMPLETE)


def test_a_paused_training_goes_on_where_it_stopped(
    replayed: Callable[..., Any], curves: Callable[[str], ModuleType]
) -> None:
    one, result = replayed(0, pruner=Pruner.pause, pruner_options={"min_resource": 25})
    trials = one.queue.trials()
    assert any(TrialRecord(trial).continues is not None for trial in trials)
    reached = {TrialRecord(trial).ordinal: TrialRecord(trial) for trial in trials}  # the last of each point
    recorded = {str(sorted(known.point.items())): known for known in curves("recorded").read("demo")[:SOME]}
    known = {ordinal: recorded[str(sorted(trials[int(record.name.split()[1])].params.items()))]
             for ordinal, record in reached.items()}  # fmt: skip
    shares = {ordinal: (record.curve or [])[-1][0] for ordinal, record in reached.items()}
    assert result.steps == sum(round(shares[ordinal] * known[ordinal].steps) for ordinal in reached)
    assert len(result.found) == sum(trial.state is TrialState.COMPLETE for trial in trials)
    for ordinal, record in reached.items():
        values = [value for _, value in record.curve or []]
        assert values == list(known[ordinal].select[: len(values)])


def test_a_study_starts_from_the_best_points_of_another(replayed: Callable[..., Any]) -> None:
    earlier, _ = replayed(5)
    one, result = replayed(0, start_from=[earlier.queue.name])
    begun = [trial for trial in one.queue.trials() if TrialRecord(trial).origin]
    best = {str(sorted(trial.params.items())) for trial in best_first(earlier.queue.study)[:5]}
    assert [trial.number for trial in begun] == list(range(len(begun))) and len(begun) > 1
    assert {str(sorted(trial.params.items())) for trial in begun} <= best
    assert result.found[0].trials == 1 and result.found[-1].trials == result.trials


def test_a_study_ends_when_its_rest_cannot_matter(replayed: Callable[..., Any]) -> None:
    whole, stopped = (replayed(0, workers=1, stop_when=when)[1] for when in StopWhen)
    assert stopped.trials < whole.trials == SOME
    assert stopped.found == whole.found[: len(stopped.found)]


def test_a_study_that_misleads_sends_the_next_one_to_its_worst_points(
    curves: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    transfer = curves("transfer")
    three = transfer.searched(("demo", 0), tmp_path, ["demo", "demo-1000"], workers=1)
    begun = {kind: [one.select for one in study.found[:2]] for kind, study in three.started.items()}
    assert max(begun[transfer.MISLED]) < min(begun[transfer.WARM])
    assert len(transfer.rows_of("demo", [three, three])) == 2


def test_intervals_of_a_mean_hold_it_as_often_as_they_say(curves: Callable[[str], ModuleType]) -> None:
    import numpy as np

    figures, drawn = curves("figures"), np.random.default_rng(1)
    ends = [figures.interval(drawn.normal(0.1, 1.0, 20)) for _ in range(4000)]
    assert sum(low < 0.1 < high for low, high in ends) / len(ends) == pytest.approx(0.95, abs=0.01)


def test_the_interval_of_equal_values_is_their_mean(curves: Callable[[str], ModuleType]) -> None:
    import numpy as np

    assert curves("figures").interval(np.full(20, 0.5)) == (0.5, 0.5)


def test_methods_win_tie_and_lose_by_the_interval_of_what_they_gain(
    curves: Callable[[str], ModuleType], replayed: Callable[..., Any]
) -> None:
    from dataclasses import replace

    figures, task = curves("figures"), curves("spaces").TASKS["demo"]
    studies = {"grid": [replayed(seed, sampler="grid", is_grid=True)[1] for seed in range(3)]}
    for method, gain in (("better", 0.1), ("worse", -0.1)):
        studies[method] = [
            replace(one, found=[replace(found, untouched=found.untouched + gain) for found in one.found])
            for one in studies["grid"]
        ]
    rows = figures.rows_of(task, curves("recorded").read("demo"), studies, "grid")
    assert [row.verdict for row in rows] == ["tie", "win", "loss"]
    *_, better, worse = figures.by_method(rows, "grid").splitlines()
    assert better == "| better | +0.100 (+0.100 to +0.100) | 1 / 0 / 0 |"
    assert worse == "| worse | -0.100 (-0.100 to -0.100) | 0 / 0 / 1 |"


def test_for_odd_seeds_the_halves_of_the_rows_change_places(curves: Callable[[str], ModuleType]) -> None:
    recorded = curves("recorded")
    as_recorded, even, odd = recorded.read("rte"), recorded.read_for("rte", 2), recorded.read_for("rte", 3)
    assert even == as_recorded
    assert [(one.select, one.untouched) for one in odd] == [(one.untouched, one.select) for one in even]


def test_regret_worst_seed_and_the_share_of_the_grids_steps_are_as_the_page_says(
    curves: Callable[[str], ModuleType],
) -> None:
    figures, replay, recorded = curves("figures"), curves("replay"), curves("recorded")
    task, trainings = curves("spaces").TASKS["demo"], recorded.read("demo")
    steps = figures.budget(task, trainings)
    grid = [replay.Replayed([replay.Found(steps, 1, 0.8, 0.7)], steps, 1, 0.9) for _ in range(3)]
    other = [
        replay.Replayed([replay.Found(steps // 4, 1, 0.7, 0.7), replay.Found(at, 2, best, 0.7)], at, 2, 0.9)
        for at, best in ((steps // 2, 0.8), (steps, 0.9), (steps, 0.6))
    ]
    row = figures.rows_of(task, trainings, {"grid": grid, "other": other}, "grid")[1]
    assert (row.regret, row.worst) == (pytest.approx(0.1), pytest.approx(0.2))
    assert row.as_grid == 1.0  # the middle of a half, all, and never


@pytest.mark.parametrize(
    ("quarters", "median"),
    [((1, 2, 3, 4), 2.5), ((1, 2, 5, 5), None), ((1, 2, 3, 5), 2.5), ((5, 5, 5, 5), None)],
    ids=["all", "two beyond the budget", "one beyond it", "all beyond it"],
)
def test_what_ends_beyond_the_budget_is_never_as_good_as_the_grid(
    curves: Callable[[str], ModuleType], quarters: Sequence[int], median: float | None
) -> None:
    figures, replay, recorded = curves("figures"), curves("replay"), curves("recorded")
    task, trainings = curves("spaces").TASKS["demo"], recorded.read("demo")
    steps = figures.budget(task, trainings)
    grid = [replay.Replayed([replay.Found(steps, 1, 0.8, 0.7)], steps, 1, 0.9) for _ in quarters]
    other = [
        replay.Replayed([replay.Found(steps * each // 4, 1, 0.8, 0.7)], 2 * steps, 1, 0.9)
        for each in quarters
    ]
    row = figures.rows_of(task, trainings, {"grid": grid, "other": other}, "grid")[1]
    assert row.as_grid == (pytest.approx(median / 4, abs=0.001) if median else None)


def test_what_ends_beyond_the_budget_is_not_found_by_a_start_from_other_studies(
    curves: Callable[[str], ModuleType],
) -> None:
    transfer, replay = curves("transfer"), curves("replay")

    def study(*found: tuple[int, int, float]) -> Any:
        return replay.Replayed([replay.Found(*each, 0.7) for each in found], 150, 5, 0.9)

    warm, misled = study((40, 3, 0.7), (120, 5, 0.9)), study((100, 4, 0.8), (120, 5, 0.9))
    three = transfer.Three(100, study((50, 2, 0.8)), {transfer.WARM: warm, transfer.MISLED: misled})
    beyond, within = (
        [cell.strip() for cell in row.split("|")] for row in transfer.rows_of("demo", [three] * 2)
    )
    assert beyond[3:6] == ["2", "inf", "0%"]
    assert within[3:6] == ["2", "4", "100%"]


def test_a_table_shows_beside_the_methods_what_the_commonest_label_scores(
    curves: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    compare = curves("compare")
    monkeypatch.setattr(compare, "METHODS", {"grid": compare.METHODS["grid"]})
    grid, constant = compare.main(["mrpc", "--seeds", "2", "--processes", "1"])
    assert (constant.method, constant.trials, constant.steps) == ("constant", 0, 0)
    assert (
        constant.select == constant.untouched == pytest.approx((0.7654 + 0.8571) / 2)
    )  # odd seeds: exchanged
    assert constant.gain == pytest.approx(constant.untouched - grid.untouched)
    assert constant.low < constant.gain < constant.high


def test_a_training_at_chance_scores_what_the_commonest_label_does(
    curves: Callable[[str], ModuleType],
) -> None:
    recorded = curves("recorded")
    for name, task in curves("spaces").TASKS.items():
        trainings = recorded.read(name)
        pairs = [pair for one in trainings for pair in zip(one.select, one.untouched, strict=True)]
        assert Counter(pairs).most_common(1)[0][0] == task.constant


@pytest.mark.parametrize("name", ["demo", "demo-1000"])
def test_the_constant_of_the_demo_is_that_of_its_labels(
    curves: Callable[[str], ModuleType], name: str
) -> None:
    import numpy as np

    from finesweep import load_config
    from finesweep.training.evaluation import order_by_length
    from finesweep.training.inputs import load_inputs

    task = curves("spaces").TASKS[name]
    inputs = load_inputs(load_config([*task.overrides, "predict=false"]))
    commonest = np.bincount(inputs.train["labels"][:]).argmax()
    says_so = (np.asarray(inputs.eval["labels"][:]) == commonest)[order_by_length(inputs.eval)]
    assert (says_so[0::2].mean(), says_so[1::2].mean()) == pytest.approx(task.constant)


def test_only_the_sweep_of_qnli_queues_the_points_that_are_known_for_its_space(
    curves: Callable[[str], ModuleType],
) -> None:
    first = curves("spaces").TASKS["qnli"].first
    sweeps = {path.stem: OmegaConf.load(path) for path in (ROOT / "sweeps").glob("*.yaml")}
    queued = {
        name: one.get("hydra", {}).get("sweeper", {}).get("enqueue", []) for name, one in sweeps.items()
    }
    assert [name for name, points in queued.items() if any(point in first for point in points)] == ["qnli"]


def test_a_recorded_curve_is_that_of_an_ordinary_run(
    curves: Callable[[str], ModuleType], config: Callable[..., RunConfig], tmp_path: Path
) -> None:
    """The halves of the rows are equally large, so the mean of both scores is the run's accuracy."""
    from finesweep.training.run import run

    seen: list[float] = []

    class Watcher:
        def stepped(self, *_: object) -> None: ...

        def evaluated(self, step: int, max_steps: int, scores: dict[str, float]) -> None:
            seen.append(scores["eval_accuracy"])

    one = config(
        "data.demo_rows=640", "data.eval_split=validation+test", "trainer.num_train_epochs=1",
        "trainer.evals_per_epoch=20", "predict=false", "tracking.system_metrics=false", "trainer.threads=1",
        "optimizer.learning_rate=3e-3",
    )  # fmt: skip
    token = current_watcher.set(Watcher())
    try:
        run(one, tmp_path / "run")
    finally:
        current_watcher.reset(token)
    curve = curves("record").trained(one, tmp_path / "recording", {})
    means = [(select + other) / 2 for select, other in zip(curve.select, curve.untouched, strict=True)]
    assert len(seen) == 20 and seen == pytest.approx(means, abs=1e-4)
