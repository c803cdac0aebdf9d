"""Which points of earlier studies a study starts from."""

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from finesweep.config.study import StudyConfig
from finesweep.study.from_studies import Known, Start, choose
from finesweep.study.records import StudyRecord
from finesweep.study.sources import queue_starts
from finesweep.study.space import Dimension

RATE, EPOCHS = "optimizer.learning_rate", "trainer.num_train_epochs"
SPACE = (
    Dimension(RATE, RATE, FloatDistribution(1e-4, 1e-2, log=True)),
    Dimension(EPOCHS, EPOCHS, IntDistribution(1, 5)),
    Dimension("optimizer", "optimizer", CategoricalDistribution(["adamw", "sgd"])),
    Dimension("momentum|optimizer=sgd", "momentum", FloatDistribution(0, 1), {"optimizer": "sgd"}),
)


def known(
    rate: object, epochs: object = 3, optimizer: str = "adamw", study: str = "s", **more: object
) -> Known:
    return Known(study, 0, {RATE: rate, EPOCHS: epochs, "optimizer": optimizer, **more})


def points(*sources: list[Known], n_trials: int = 20) -> list[dict[str, object]]:
    return [start.point for start in starts(*sources, n_trials=n_trials)]


def starts(*finds: list[Known], n_trials: int = 20) -> list[Start]:
    """What is chosen where these are the best quarter of each study."""
    return choose([[*found, *found * 3] for found in finds], SPACE, n_trials)


def test_a_quarter_of_the_trials_at_most_tries_what_is_known() -> None:
    best = [known(1e-4 * 2**rank) for rank in range(6)]
    assert len(points(best, n_trials=20)) == 5
    assert points(best, n_trials=3) == [best[0].point]


def test_only_the_best_quarter_of_a_study_counts_as_found() -> None:
    ranked = [known(1e-4 * 2**rank) for rank in range(6)]
    assert [start.known for start in choose([ranked], SPACE, 20)] == ranked[:2]
    assert [start.known for start in choose([ranked[:1]], SPACE, 20)] == ranked[:1]


def test_each_study_has_its_turn_and_its_best_comes_first() -> None:
    one = [known(1e-4, study="a"), known(1e-3, study="a")]
    other = [known(1e-2, study="b")]
    assert [start.known for start in starts(one, other)] == [one[0], other[0], one[1]]


def test_points_that_say_the_same_are_tried_once() -> None:
    near, far = known(1.2e-3), known(2e-3)  # a twentieth, and a seventh, of the range from 1e-3
    assert points([known(1e-3), near, far]) == [known(1e-3).point, far.point]
    assert len(points([known(1e-3), known(1e-3, 4), known(1e-3, optimizer="sgd")])) == 3


def test_a_number_outside_of_the_range_moves_to_its_end() -> None:
    (start,) = starts([known(0.5, 9)])
    assert start.point == {RATE: 1e-2, EPOCHS: 5, "optimizer": "adamw"}
    assert start.moved == [RATE, EPOCHS] and start.missing == []


def test_what_the_space_lacks_is_left_out_and_what_is_unknown_is_drawn() -> None:
    (start,) = starts([Known("s", 0, {RATE: 1e-3, "optimizer": "lion", "elsewhere": 1})])
    assert start.point == {RATE: 1e-3} and start.missing == [EPOCHS, "optimizer"]
    assert points([Known("s", 0, {"elsewhere": 1})]) == []


def test_a_dimension_under_a_condition_is_taken_where_it_exists() -> None:
    with_momentum = known(1e-3, optimizer="sgd", momentum=0.9)
    assert points([with_momentum]) == [with_momentum.point]
    assert points([known(1e-3, momentum=0.9)]) == [known(1e-3).point]


def test_points_of_a_study_are_queued_once_though_another_command_read_it_meanwhile() -> None:
    study, config = optuna.create_study(), StudyConfig(start_from=["s"])
    queue_starts(study, starts([known(1e-3)]), config, SPACE)
    queue_starts(study, starts([known(1e-2)]), config, SPACE)  # what it had found by then
    assert [trial.system_attrs["fixed_params"][RATE] for trial in study.trials] == [1e-3]
    assert StudyRecord(study).started_from == ["s"]
