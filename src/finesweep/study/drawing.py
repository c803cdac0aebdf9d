"""Draws the point of a claimed trial and begins the trial."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from finesweep.study import clock
from finesweep.study.claiming import Claim
from finesweep.study.editing import as_seen
from finesweep.study.opened import OpenedStudy
from finesweep.study.pausing import each_once
from finesweep.study.records import TrialRecord
from finesweep.study.selection import FINISHED, searching
from finesweep.study.space import suggest


def draw(opened: OpenedStudy, claim: Claim) -> optuna.Trial:
    """Draws the point of a claimed trial and begins it. What fails halfway is drawn again by a retry."""
    assert claim.sampler is not None
    opened.study._thread_local.cached_all_trials = None
    opened.study.sampler = claim.sampler
    with opened.cache.drawing(claim.trial, _as_sampler_sees(opened, claim)) as attrs:
        trial = optuna.Trial(opened.study, claim.trial._trial_id)
        suggest(trial, opened.space)
        twin = _evaluated_before(trial, claim.seen, opened.config.repeat_trials)
        now, twin_number = clock.now(opened.study), twin.number if twin else None
        attrs |= TrialRecord.attributes(started=now, heartbeat=now, reused_of=twin_number)
    claim.trial.user_attrs |= attrs
    return trial


def _as_sampler_sees(opened: OpenedStudy, claim: Claim) -> list[FrozenTrial]:
    others = [one for one in claim.seen if one.number != claim.trial.number]
    seen = sorted([*each_once(others), claim.trial], key=lambda one: one.number)
    return as_seen(seen, opened.space) if opened.is_edited else seen


def _evaluated_before(
    trial: optuna.Trial, trials: Sequence[FrozenTrial], repeats: bool
) -> FrozenTrial | None:
    """Finds a finished trial of the same point, unless the study repeats trials.

    One with a smaller batch does not count: it is another training. Nor does one whose point an edit has
    trained again, or that paused at a point which a person tries; nor, for a retry of what has trained, one
    that was not trained to its end.
    """
    mine = TrialRecord(trial)
    if repeats or mine.retry_overrides is not None or mine.again is not None:
        return None
    tries = [mine, *_earlier(mine, trials)]
    is_tried = any(one.tried is not None for one in tries)
    goes_on = any(one.started is not None and one.reused_of is None for one in tries[1:])
    return known(trial.params, trials, is_tried, goes_on)


def known(
    params: Mapping[str, Any], trials: Sequence[FrozenTrial], is_tried: bool = False, goes_on: bool = False
) -> FrozenTrial | None:
    """Finds a finished trial whose value is that of a point.

    is_tried: by a person, for whom a paused trial does not count. goes_on: from a checkpoint of its own.
    """
    trained = (other for other in each_once(searching(trials)) if _is_known(other) and other.params == params)
    ends = (
        other
        for other in trained
        if not (is_tried and TrialRecord(other).is_paused)
        and not (goes_on and other.state is not TrialState.COMPLETE)
    )
    return next(ends, None)


def _earlier(record: TrialRecord, trials: Sequence[FrozenTrial]) -> Iterator[TrialRecord]:
    """Yields the earlier tries of a trial, the last one first."""
    by_number = {trial.number: trial for trial in trials}
    while record.goes_on_from is not None:
        record = TrialRecord(by_number[record.goes_on_from])
        yield record


def _is_known(trial: FrozenTrial) -> bool:
    """Tells whether a finished trial's value is that of its point. One that a person ended says nothing."""
    record = TrialRecord(trial)
    is_stopped = trial.state is TrialState.PRUNED and record.stopped is not None
    trained_as_drawn = record.reused_of is None and record.retry_overrides is None
    return trial.state in FINISHED and trained_as_drawn and not is_stopped
