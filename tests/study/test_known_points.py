"""The known points of a sweep's file, where a command fixes keys or searches other ranges."""

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution

from finesweep.study.space import Dimension
from hydra_plugins.finesweep._known_points import fitted

RATE, BATCH = "optimizer.learning_rate", "trainer.per_device_train_batch_size"
EPOCHS = "trainer.num_train_epochs"
SPACE = (
    Dimension(RATE, RATE, FloatDistribution(1e-4, 1e-2)),
    Dimension(BATCH, BATCH, CategoricalDistribution([8, 16])),
)


def test_what_the_command_fixes_is_left_out_of_the_points_and_that_is_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    points = [{RATE: 1e-3, BATCH: 8, EPOCHS: 2}, {RATE: 1e-3, BATCH: 8, EPOCHS: 5}, {EPOCHS: 3}]
    assert fitted(points, SPACE, {EPOCHS}) == [{RATE: 1e-3, BATCH: 8}]
    assert (
        capsys.readouterr().err
        == f"enqueue: this command fixes {EPOCHS}, which the sweep's known points leave out\n"
    )


def test_points_outside_of_the_ranges_of_the_command_are_left_out_and_that_is_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    points = [{RATE: 2e-5, BATCH: 8}, {RATE: 1e-3, BATCH: 16}]
    assert fitted(points, SPACE, {RATE}) == points[1:]
    told = f"a known point lies outside of this command's ranges: {RATE}: got 2e-05; legal: 0.0001 to 0.01"
    assert capsys.readouterr().err.startswith(f"enqueue: {told}")


def test_points_that_do_not_fit_the_file_itself_stay_and_are_refused_later(
    capsys: pytest.CaptureFixture[str],
) -> None:
    points = [{RATE: 1e-3, BATCH: 9}, {RATE: 1e-3, "optimizer.warmup": 1}, {RATE: 2e-5, BATCH: 9}]
    assert fitted(points, SPACE, {RATE}) == points
    assert fitted([{RATE: 2e-5}], SPACE, set()) == [{RATE: 2e-5}]
    assert capsys.readouterr().err == ""
