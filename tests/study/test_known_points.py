"""The known points of a sweep's file, where a command fixes keys or searches other ranges."""

from collections.abc import Mapping
from typing import Any

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from finesweep.config.study import Branch, SweepConfig
from finesweep.study.space import Dimension
from hydra_plugins.finesweep._known_points import fitted, gives_points

RATE, BATCH, EPOCHS = "optimizer.learning_rate", "per_device_train_batch_size", "trainer.num_train_epochs"
OPTIMIZER, SCHEDULE, WARMUP = "optimizer", "optimizer.lr_scheduler_type", "optimizer.warmup_steps"
RATES = Dimension(RATE, RATE, FloatDistribution(1e-4, 1e-2))
SPACE = RATES, Dimension(BATCH, BATCH, CategoricalDistribution([8, 16]))
LONG = Dimension(EPOCHS, EPOCHS, IntDistribution(4, 8))
ADAMW = {OPTIMIZER: "adamw", SCHEDULE: "linear", RATE: 1e-3, WARMUP: 0.1, EPOCHS: 3}


def plain(*points: Mapping[str, Any]) -> SweepConfig:
    return SweepConfig(params={RATE: "", BATCH: "", EPOCHS: ""}, enqueue=[*map(dict, points)])


def conditional(*points: Mapping[str, Any]) -> SweepConfig:
    """As `sweeps/optimizers.yaml`."""
    branches = [
        Branch({OPTIMIZER: "adamw"}, {RATE: ""}),
        Branch({OPTIMIZER: "sgd"}, {RATE: ""}),
        Branch({SCHEDULE: "linear"}, {WARMUP: ""}),
    ]
    params = {OPTIMIZER: "", SCHEDULE: "", EPOCHS: ""}
    return SweepConfig(params=params, conditional=branches, enqueue=[*map(dict, points)])


def test_what_the_command_fixes_is_left_out_of_the_points_and_that_is_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    points = {RATE: 1e-3, BATCH: 8, EPOCHS: 2}, {RATE: 1e-3, BATCH: 8, EPOCHS: 5}, {EPOCHS: 3}
    assert fitted(plain(*points), SPACE, {EPOCHS}, {}.get) == [{RATE: 1e-3, BATCH: 8}]
    told = f"enqueue: this command does not search {EPOCHS}; the known points leave it out\n"
    assert capsys.readouterr().err == told


def test_points_outside_of_the_ranges_of_the_command_are_left_out_and_that_is_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    points = {RATE: 2e-5, BATCH: 8}, {RATE: 1e-3, BATCH: 16}
    assert fitted(plain(*points), SPACE, {RATE}, {}.get) == [points[1]]
    told = f"a known point does not fit this command: {RATE}: got 2e-05; legal: 0.0001 to 0.01"
    assert capsys.readouterr().err.startswith(f"enqueue: {told}")


def test_a_command_that_changes_no_dimension_gets_the_points_as_they_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    points = [{RATE: 1e-3, BATCH: 9}, {"optimizer.warmup": 1}]  # both are refused later
    assert fitted(plain(*points), SPACE, {"model.dropout"}, {}.get) == points
    assert capsys.readouterr().err == ""


def test_a_point_of_another_optimizer_is_no_known_point_of_this_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    sgd = Dimension(RATE, RATE, FloatDistribution(1e-4, 1.0))  # which would hold the point's rate
    assert fitted(conditional(ADAMW), (sgd,), {OPTIMIZER}, {OPTIMIZER: "sgd", SCHEDULE: "linear"}.get) == []
    assert "does not fit this command: optimizer is sgd here, and adamw there" in capsys.readouterr().err
    same = fitted(conditional(ADAMW), (RATES,), {OPTIMIZER}, {OPTIMIZER: "adamw", SCHEDULE: "linear"}.get)
    assert same == [{RATE: 1e-3}]


def test_what_a_condition_takes_out_of_the_search_goes_out_of_the_points() -> None:
    constant = {SCHEDULE: "constant"}.get
    optimizers = Dimension(OPTIMIZER, OPTIMIZER, CategoricalDistribution(["adamw", "sgd"]))
    point = {OPTIMIZER: "adamw", RATE: 1e-3, WARMUP: 0.1}
    assert fitted(conditional(point), (optimizers, RATES), {SCHEDULE}, constant) == [
        {OPTIMIZER: "adamw", RATE: 1e-3}
    ]


def test_a_range_beside_a_condition_is_the_commands_own() -> None:
    schedules = Dimension(SCHEDULE, SCHEDULE, CategoricalDistribution(["linear", "constant"]))
    warmup = Dimension(f"{WARMUP}|linear", WARMUP, FloatDistribution(0, 0.2), {SCHEDULE: "linear"})
    optimizers = Dimension(OPTIMIZER, OPTIMIZER, CategoricalDistribution(["adamw", "sgd"]))
    space = optimizers, schedules, warmup, RATES, LONG
    given = {SCHEDULE, EPOCHS}
    assert fitted(conditional(ADAMW, {**ADAMW, EPOCHS: 5}), space, given, {}.get) == [{**ADAMW, EPOCHS: 5}]


@pytest.mark.parametrize(
    ("override", "gives"),
    [
        ("hydra.sweeper.enqueue=[{a: 1}]", True),
        ("+hydra.sweeper.enqueue=[]", True),
        ("hydra.sweeper={enqueue: [{a: 1}]}", True),
        ("~hydra.sweeper.enqueue", True),
        ("hydra.sweeper.study.n_trials=3", False),
        ("hydra.sweeper.study.name=enqueued", False),
    ],
)
def test_points_of_the_command_line_are_taken_as_they_are(override: str, gives: bool) -> None:
    assert gives_points([override]) is gives
