"""Gives up paused trials: those that are too many while the search goes on, and all when it is over.

It is noted under the study's lock, under which promotions are made, too, before any file goes.
"""

import logging
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence

from optuna.trial import FrozenTrial

from finesweep.study.pausing import Pausing, last_of, waiting
from finesweep.study.queue import TrialQueue
from finesweep.study.records import StudyRecord, TrialRecord
from finesweep.study.remaining import is_over

log = logging.getLogger(__name__)
# Chooses from all trials of the study; it also gets the numbers of those that were given up before.
Choose = Callable[[Sequence[FrozenTrial], Sequence[int]], Iterable[int]]


def give_up_surplus(queue: TrialQueue) -> None:
    """Gives up the worst of the paused trials beyond `max_paused`, and removes their checkpoints."""
    pausing = Pausing.of(queue.study, queue.config)
    if pausing is None:
        return
    rungs = pausing.rungs

    def surplus(trials: Sequence[FrozenTrial], known: Sequence[int]) -> Iterator[int]:
        return (last_of(point, trials) for point in rungs.surplus(Pausing(rungs, known).points(trials)))

    _give_up(queue, surplus)


def give_up_all(queue: TrialQueue) -> None:
    """Gives up all paused trials if the search is over; removes what trials that ended for good have left.

    Raises: StudyError if another command has edited the space.
    """

    def all_that_wait(trials: Sequence[FrozenTrial], known: Sequence[int]) -> Iterator[int]:
        search_is_over = is_over(queue)  # a person may have extended it since
        return (trial.number for trial in waiting(trials, known) if search_is_over)

    _give_up(queue, all_that_wait)
    trials = queue.skim()
    for trial in filter(_ended_for_good, trials):  # perhaps before it had adopted the checkpoint
        _remove_checkpoints(queue, _earlier(trial, trials))


def _ended_for_good(trial: FrozenTrial) -> bool:
    """Tells whether a trial has failed or was stopped by a person, so that no other goes on from it."""
    record = TrialRecord(trial)
    return trial.state.is_finished() and (record.error is not None or record.stopped is not None)


def _earlier(trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> Iterator[FrozenTrial]:
    """Yields the trials that a trial goes on from, the last one first."""
    while (number := TrialRecord(trial).goes_on_from) is not None:
        trial = trials[number]
        yield trial


def _give_up(queue: TrialQueue, choose: Choose) -> None:
    """Gives up some paused trials. Checkpoints of those before are removed, too, if a kill left them."""
    given_up = queue.patience.call(_note, queue, choose)
    _remove_checkpoints(queue, (queue.trial(number) for number in given_up))


def _note(queue: TrialQueue, choose: Choose) -> list[int]:
    """Adds paused trials to those that the study gave up; returns the numbers of all of these."""
    with queue.lock():
        record = StudyRecord(queue.study)
        known = record.given_up or []
        if chosen := sorted(choose(queue.trials(), known)):
            record.given_up = known = sorted({*known, *chosen})
    if chosen:
        log.info("paused trials are given up, and their checkpoints removed: %s", ", ".join(map(str, chosen)))
    return known


def _remove_checkpoints(queue: TrialQueue, trials: Iterable[FrozenTrial]) -> None:
    for record in map(TrialRecord, trials):
        if record.folder and not queue.places.is_foreign(folder := queue.places.find(record.folder)):
            shutil.rmtree(folder / "training", ignore_errors=True)
