"""A study whose ranges are edited: what still lies in them counts, and the rest is seen by nobody."""

from pathlib import Path

import pytest
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState, create_trial
from test_study import complete

from finesweep.config.run import Direction
from finesweep.config.study import ConfirmConfig, StudyConfig
from finesweep.errors import StudyError
from finesweep.study import studies
from finesweep.study.editing import as_seen, may_be_edited, outside, ranges
from finesweep.study.importance import searched
from finesweep.study.pruning import _OnGrid
from finesweep.study.queue import TrialQueue
from finesweep.study.ranking import best_first
from finesweep.study.records import Conclusion, StudyRecord, TrialRecord
from finesweep.study.remaining import conclusion_counts, has_work, is_concluded, is_over
from finesweep.study.selection import failures, searching
from finesweep.study.space import Dimension, Space
from finesweep.worker.editing import train_lost_again


def space(**distributions: BaseDistribution) -> Space:
    return tuple(Dimension(name, name, values) for name, values in distributions.items())


RATE, CHOICE = FloatDistribution(1e-4, 1e-2, log=True), CategoricalDistribution(["a", "b"])
WIDE = space(rate=RATE, choice=CHOICE)
NARROW = space(rate=FloatDistribution(1e-3, 1e-1, log=True), choice=CategoricalDistribution(["c", "b"]))


def trial(rate: float, choice: str) -> FrozenTrial:
    return create_trial(
        value=rate, params={"rate": rate, "choice": choice}, distributions={"rate": RATE, "choice": CHOICE}
    )


def queue(tmp_path: Path, searched: Space, n_trials: int = 3, **settings: object) -> TrialQueue:
    storage = f"sqlite:///{tmp_path}/optuna.db"
    config = StudyConfig(name="s", storage=storage, n_trials=n_trials, **settings)  # type: ignore[arg-type]
    attrs = StudyRecord.attributes(
        n_trials=n_trials, metric="m", space=searched, identity={"space": ranges(searched), "seed": 0}
    )
    studies.create(config, {"m": Direction.maximize}, [], attrs)
    return TrialQueue(config, searched)


def edited(tmp_path: Path, n_trials: int = 3, **settings: object) -> TrialQueue:
    """A study of three finished and one waiting trial, whose space was made narrow."""
    books = queue(tmp_path, WIDE)
    books.study.add_trials([trial(2e-4, "b"), trial(2e-3, "b"), trial(3e-3, "a")])
    books.study.enqueue_trial({"rate": 2e-4})
    StudyRecord(books.study).outside = outside(books.trials(), NARROW)
    return queue(tmp_path, NARROW, n_trials, **settings)


def test_a_trial_lies_in_a_space_if_each_of_its_values_does() -> None:
    inside, low, other = trial(2e-3, "b"), trial(2e-4, "b"), trial(2e-3, "a")
    waiting = create_trial(state=TrialState.WAITING, system_attrs={"fixed_params": {"choice": "c"}})
    for number, one in enumerate(trials := [inside, low, other, waiting]):
        one.number = number
    assert outside(trials, NARROW) == [1, 2]
    assert outside(trials, WIDE) == [3]
    assert outside(trials, space(rate=RATE)) == [0, 1, 2, 3]
    assert outside([inside], space(rate=RATE, choice=CHOICE, more=RATE)) == [0]  # its value is not known


def test_a_whole_number_lies_on_the_steps_of_its_range() -> None:
    steps = IntDistribution(2, 8, step=2)
    found = [
        create_trial(value=0, params={"n": n}, distributions={"n": IntDistribution(1, 9)}) for n in (4, 5)
    ]
    for number, one in enumerate(found):
        one.number = number
    assert outside(found, space(n=steps)) == [1]


def test_ranges_may_be_edited_and_keys_only_under_a_condition() -> None:
    assert may_be_edited({"a": "1", "b|a=1": "2"}, {"a": "2"})
    assert not may_be_edited({"a": "1"}, {"a": "1", "b": "2"})


def test_what_lies_outside_is_counted_by_no_budget_and_is_not_the_best(tmp_path: Path) -> None:
    books = edited(tmp_path)
    assert [one.number for one in searching(books.trials())] == [1]
    assert [one.number for one in best_first(books.study)] == [1]
    points = []
    while (mine := books.next_trial()) and len(points) < 9:
        points.append(mine.params)
        complete(books, mine.number, 0.5)
    assert len(points) == 2  # of three, one is known; the waiting one is not taken
    assert all(1e-3 <= point["rate"] <= 1e-1 and point["choice"] in "bc" for point in points)
    assert is_over(books)


@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc", "cmaes"])
def test_every_sampler_goes_on_in_the_new_space(tmp_path: Path, sampler: str) -> None:
    books = edited(tmp_path, n_trials=12, sampler=sampler)
    numbers = []
    while mine := books.next_trial():
        assert 1e-3 <= mine.params["rate"] <= 1e-1 and mine.params["choice"] in "bc"
        numbers.append(mine.number)
        complete(books, mine.number, mine.params["rate"])
    assert numbers == list(range(4, 15))
    ordinals = [TrialRecord(one).ordinal for one in books.trials()[4:]]
    assert ordinals == list(range(4, 15))  # none that the former space had


def test_a_sampler_and_a_pruner_see_the_new_ranges_and_nothing_of_the_others(tmp_path: Path) -> None:
    books = edited(tmp_path)
    seen = as_seen(books.trials(), NARROW)
    assert [one.number for one in seen] == [0, 1, 2, 3]
    assert [one.state.name for one in seen] == ["FAIL", "COMPLETE", "FAIL", "FAIL"]
    assert seen[1].distributions == {one.name: one.distribution for one in NARROW}
    grid = _OnGrid.of(books.study)
    assert grid.best_trial.number == 1
    assert [one.number for one in grid.get_trials(states=(TrialState.COMPLETE,))] == [1]
    assert [one.state.name for one in searched(books.study).trials] == ["FAIL", "COMPLETE", "FAIL", "FAIL"]


def test_what_lies_in_an_edited_space_again_is_back(tmp_path: Path) -> None:
    books = edited(tmp_path)
    StudyRecord(books.study).outside = []
    assert [one.number for one in best_first(books.study)] == [2, 1, 0]


def test_a_trial_of_new_choices_is_confirmed(tmp_path: Path) -> None:
    books = edited(tmp_path, n_trials=2, confirm=ConfirmConfig(top_k=1, seeds=1))
    mine = books.next_trial()
    assert mine is not None
    complete(books, mine.number, 0.9)
    confirming = books.next_trial()
    assert confirming is not None and TrialRecord(confirming).confirms == mine.number
    assert books.trial(confirming.number).params == mine.params


def test_a_worker_of_the_former_space_takes_no_more_trials(tmp_path: Path) -> None:
    former = queue(tmp_path, WIDE)
    assert former.next_trial()
    edited(tmp_path)
    with pytest.raises(StudyError, match="another command has edited the space"):
        former.next_trial()


def test_what_failed_outside_of_the_space_does_not_end_the_study(tmp_path: Path) -> None:
    books = edited(tmp_path, max_failures=1)
    failed = create_trial(
        state=TrialState.FAIL,
        params={"rate": 2e-4, "choice": "b"},
        distributions={"rate": RATE, "choice": CHOICE},
        user_attrs=TrialRecord.attributes(error="no"),
    )
    books.study.add_trial(failed)
    StudyRecord(books.study).outside = outside(books.trials(), NARROW)
    assert failures(books.trials()) == []
    assert has_work(books) and books.next_trial() is not None


def test_a_command_that_was_killed_while_it_queued_lost_points_is_made_good_by_the_next(
    tmp_path: Path,
) -> None:
    books = edited(tmp_path, n_trials=1)
    old = books.trials()[1]
    books.study.enqueue_trial(old.params, TrialRecord.attributes(again=1))  # and no more of it
    assert train_lost_again(books.study, 0, print)
    assert StudyRecord(books.study).outside == [0, 1, 2, 3]
    mine = books.next_trial()
    assert mine is not None and mine.number == 4 and TrialRecord(mine).reused_of is None
    complete(books, 4, 0.5)
    assert [one.number for one in best_first(books.study)] == [4]


def test_a_point_that_is_trained_again_is_not_known_from_the_old_trial(tmp_path: Path) -> None:
    books = edited(tmp_path, n_trials=1)
    old = books.trials()[1]
    books.study.enqueue_trial(old.params, TrialRecord.attributes(again=1))
    mine = books.next_trial()
    assert mine is not None and TrialRecord(mine).reused_of is None


def test_what_a_finish_step_concluded_before_an_edit_is_not_that_of_the_edited_study(tmp_path: Path) -> None:
    former = queue(tmp_path, WIDE)
    former.study.add_trials([trial(2e-4, "b"), trial(2e-3, "b"), trial(3e-3, "a")])
    conclusion = Conclusion(conclusion_counts(former), best=2)
    StudyRecord(former.study).outside = outside(former.trials(), NARROW)
    StudyRecord(former.study).conclusion = conclusion  # by a finish step that had begun
    books = queue(tmp_path, NARROW)
    assert not is_concluded(books, predict=False)
    assert not conclusion.counts(3, StudyRecord(books.study).outside)
    after = Conclusion(conclusion_counts(books), best=1)
    StudyRecord(books.study).conclusion = after
    assert is_concluded(books, predict=False) and after.counts(3, StudyRecord(books.study).outside)
