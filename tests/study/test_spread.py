"""The first points of a TPE study spread over its space, and depend on its seed and their ordinal alone."""

import math

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial
from sweeping import evaluate, sweep

from finesweep.config.study import StudyConfig
from finesweep.study.records import StudyRecord
from finesweep.study.samplers import make_sampler
from finesweep.study.space import Dimension, Space, params_of, suggest
from finesweep.study.spread import at

RATE, EPOCHS, BATCH = "rate", "epochs", "batch"
SPACE = (
    Dimension(RATE, RATE, FloatDistribution(1e-5, 1e-1, log=True)),
    Dimension(EPOCHS, EPOCHS, IntDistribution(1, 4)),
    Dimension(BATCH, BATCH, CategoricalDistribution((8, 16, 32, 64))),
)


def first_points(seed: int, count: int, space: Space = SPACE) -> list[dict[str, object]]:
    points = []
    for index in range(count):
        sampler = make_sampler(StudyConfig(seed=seed), index, space, spread=index)
        trial = optuna.create_study(sampler=sampler).ask()
        suggest(trial, space)
        points.append(params_of(trial))
    return points


@pytest.mark.parametrize("seed", range(5))
def test_the_first_four_points_lie_in_four_quarters_of_each_dimension(seed: int) -> None:
    points = first_points(seed, 4)
    assert {int(-math.log10(float(str(point[RATE])))) for point in points} == {1, 2, 3, 4}
    assert {point[EPOCHS] for point in points} == {1, 2, 3, 4}
    assert {point[BATCH] for point in points} == {8, 16, 32, 64}


def test_a_point_depends_on_seed_and_ordinal_alone() -> None:
    assert first_points(3, 6)[5] == first_points(3, 6)[5]
    assert first_points(3, 6)[5] != first_points(4, 6)[5]
    assert len({str(point) for point in first_points(3, 10)}) == 10


def test_a_dimension_with_a_condition_spreads_too() -> None:
    space = (
        Dimension("name", "name", CategoricalDistribution(("adamw", "sgd"))),
        Dimension("momentum|name=sgd", "momentum", FloatDistribution(0, 1), {"name": "sgd"}),
    )
    drawn = [float(str(point["momentum"])) for point in first_points(0, 8, space) if "momentum" in point]
    assert len(drawn) == 4 and max(drawn) - min(drawn) > 0.5


def test_tpe_takes_over_once_it_knows_enough() -> None:
    ask = {one.name: one.distribution for one in SPACE}
    points = []
    for spread in (10, None):
        sampler = make_sampler(StudyConfig(), 10, SPACE, spread=spread)
        study = optuna.create_study(sampler=sampler)
        for point in first_points(0, 10):
            study.add_trial(
                create_trial(state=TrialState.COMPLETE, params=point, distributions=ask, value=0.5)
            )
        points.append(study.ask(ask).params)
    assert points[0] == points[1]


def test_equal_shares_of_a_dimension_have_equal_weight() -> None:
    places = [(index + 0.5) / 12 for index in range(12)]
    assert [at(place, IntDistribution(1, 4)) for place in places] == [1] * 3 + [2] * 3 + [3] * 3 + [4] * 3
    assert [at(place, CategoricalDistribution(("a", "b"))) for place in places] == ["a"] * 6 + ["b"] * 6
    assert at(0.5, FloatDistribution(1e-4, 1e-2, log=True)) == pytest.approx(1e-3)
    assert (
        at(0.0, FloatDistribution(0, 1, step=0.25)) == 0
        and at(0.999, FloatDistribution(0, 1, step=0.25)) == 1
    )


@pytest.mark.usefixtures("no_finish")
def test_a_sweep_begins_so_and_a_study_from_before_goes_on_as_it_began() -> None:
    space = ("optimizer.learning_rate=tag(log,interval(1e-5,1e-1))", "trainer.num_train_epochs=1")
    fixed = ("trainer.per_device_train_batch_size=8", *space, "hydra.sweeper.study.sampler=tpe")

    def rates(n_trials: int) -> list[float]:
        study = sweep(
            lambda _, trial: evaluate(trial, [0.5]), *fixed, f"hydra.sweeper.study.n_trials={n_trials}"
        )
        return [trial.params["optimizer.learning_rate"] for trial in study.trials]

    assert {int(-math.log10(rate)) for rate in rates(4)} == {1, 2, 3, 4}
    study = optuna.load_study(study_name="quickstart", storage="sqlite:///mlruns/optuna.db")
    assert StudyRecord(study).spread_start is True
    StudyRecord(study).spread_start = False  # as in a study from before
    fifth = rates(5)[4]
    assert fifth not in [point[RATE] for point in first_points(0, 5)]


@pytest.mark.usefixtures("no_finish")
@pytest.mark.parametrize("queued", [1, 2])
def test_behind_the_points_of_a_person_the_next_four_spread_as_well(queued: int) -> None:
    known = ", ".join(f"{{optimizer.learning_rate: 3e-{power}}}" for power in range(2, 2 + queued))
    study = sweep(
        lambda _, trial: evaluate(trial, [0.5]),
        "optimizer.learning_rate=tag(log,interval(1e-5,1e-1))", "trainer.num_train_epochs=1",
        "trainer.per_device_train_batch_size=8", f"hydra.sweeper.enqueue=[{known}]",
        f"hydra.sweeper.study.n_trials={queued + 4}",
    )  # fmt: skip
    rates = [trial.params["optimizer.learning_rate"] for trial in study.trials]
    assert rates[:queued] == [0.03, 0.003][:queued]
    assert {int(-math.log10(rate)) for rate in rates[queued:]} == {1, 2, 3, 4}


@pytest.mark.usefixtures("no_finish")
def test_what_the_sampler_adds_to_a_queued_point_is_no_place_of_another() -> None:
    study = sweep(
        lambda _, trial: evaluate(trial, [0.5]),
        "optimizer.learning_rate=tag(log,interval(1e-5,1e-1))", "trainer.num_train_epochs=1,2",
        "trainer.per_device_train_batch_size=8",
        "hydra.sweeper.enqueue=[{trainer.num_train_epochs: 1}, {trainer.num_train_epochs: 2}]",
        "hydra.sweeper.study.n_trials=6", "hydra.sweeper.study.sampler=tpe",
    )  # fmt: skip
    assert len({trial.params["optimizer.learning_rate"] for trial in study.trials}) == 6
