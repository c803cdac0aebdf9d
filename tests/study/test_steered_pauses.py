"""A person steers a study whose trials pause: one that waits is stopped, and a tried point has its turn."""

from pathlib import Path

import pytest
from optuna.trial import TrialState
from test_pausing import falling, pausing_queue, run_out, train, training_of
from test_steering import person
from test_study import SPACE, complete

from finesweep.errors import NotSteered
from finesweep.study.budget import budgets, full
from finesweep.study.queue import TrialQueue
from finesweep.study.records import StudyRecord, TrialRecord
from finesweep.study.remaining import is_over
from finesweep.study.selection import count_finished
from finesweep.study.steering import steered, stop_trial, try_point
from finesweep.worker.paused import give_up_surplus


def paused(folder: Path, count: int) -> TrialQueue:
    """A study of so many trials, all of which wait at their first rung."""
    books = pausing_queue(folder, n_trials=count, pruner_options={"min_resource": 50})
    StudyRecord(books.study).write_all(
        space=SPACE, history=[{"sampler": "random", "n_trials": count, "pruner": "pause"}]
    )
    for _ in range(count):
        training_of(books, folder)
    return books


def test_a_paused_trial_that_is_stopped_goes_on_no_more(tmp_path: Path) -> None:
    books = paused(tmp_path, 2)
    assert stop_trial(person(tmp_path), 0) is TrialState.PRUNED
    assert StudyRecord(books.study).given_up == [0]
    assert [one.what for one in steered(books.study)] == ["stop trial 0"]
    with pytest.raises(NotSteered, match="trial 0 of s was given up"):
        stop_trial(person(tmp_path), 0)
    give_up_surplus(books)
    folders = [tmp_path / f"trial-{number}" / "training" for number in range(2)]
    assert [folder.exists() for folder in folders] == [False, True]
    run_out(books)
    assert {TrialRecord(trial).continues for trial in books.trials()} == {None, 1}


def test_of_a_paused_trial_that_went_on_the_one_that_runs_is_named(tmp_path: Path) -> None:
    books = paused(tmp_path, 2)
    following = books.next_trial()
    assert following is not None and TrialRecord(following).continues == 0
    with pytest.raises(NotSteered, match="trial 0 of s was paused; trial 2 goes on from it"):
        stop_trial(person(tmp_path), 0)
    assert StudyRecord(books.study).given_up is None


@pytest.mark.parametrize(
    ("n_trials", "steps", "used_up"), [(2, None, "n_trials=2"), (3, 8, "max_train_steps=8")]
)
def test_a_point_that_a_person_tries_does_not_exceed_the_budget(
    tmp_path: Path, n_trials: int, steps: int | None, used_up: str
) -> None:
    books = paused(tmp_path, 2)
    books.config.n_trials, books.config.max_train_steps = n_trials, steps
    try_point(person(tmp_path), {"x": 0.5})
    assert str(full(books.trials(), books.config)).startswith(used_up)
    run_out(books)
    assert books.trials()[2].state is TrialState.WAITING
    assert count_finished(books.trials()) == 2 and is_over(books)


def test_a_point_that_a_person_tries_goes_before_paused_ones_while_there_is_room(tmp_path: Path) -> None:
    books = paused(tmp_path, 2)
    books.config.n_trials = 3
    assert full(books.trials(), books.config) is None
    assert full(books.trials(), budgets(StudyRecord(books.study))) == "n_trials=2"
    try_point(person(tmp_path), {"x": 0.5})
    following = books.next_trial()
    assert following is not None and following.number == 2
    complete(books, 2, 0.5)


def test_a_person_tries_the_point_of_a_paused_trial(tmp_path: Path) -> None:
    books = paused(tmp_path, 1)
    books.config.n_trials = 2
    try_point(person(tmp_path), books.trials()[0].params)
    following = books.next_trial()
    assert following is not None and TrialRecord(following).reused_of is None
    assert not train(books, following, falling)
