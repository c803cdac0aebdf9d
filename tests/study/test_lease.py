"""The lease of an owner that cannot be seen, the study's clock, and who lost a trial."""

import time
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial
from test_study import DEAD, queue, recover

from finesweep.hooks import RunState, TrialLost
from finesweep.machine.process import this_process
from finesweep.study import clock
from finesweep.study.budget import busy_seconds
from finesweep.study.liveness import GRACE_S, SILENT_S
from finesweep.study.queue import TrialQueue
from finesweep.study.records import Outcome, TrialRecord
from finesweep.study.remaining import more_may_come
from finesweep.study.selection import count_finished

CONTAINER = str(replace(this_process(), namespace="1", start="1"))  # on this host, with the host's name


def taken(books: TrialQueue, owner: str, silent: float = 0.0) -> int:
    """Takes a trial for `owner`, who was heard of `silent` seconds ago. Returns its number."""
    trial = books.next_trial()
    assert trial is not None
    record = TrialRecord(trial)
    record.owner, record.heartbeat = owner, clock.now(books.study) - silent
    return trial.number


def step(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Sets this host's clock."""
    right = time.time
    monkeypatch.setattr(time, "time", lambda: right() + seconds)


def test_a_live_worker_in_a_container_keeps_its_trial_and_a_dead_one_loses_it_when_its_lease_ends(
    tmp_path: Path,
) -> None:
    books = queue(tmp_path, n_trials=2)
    taken(books, CONTAINER)
    taken(books, CONTAINER, silent=GRACE_S + 1)
    assert recover(books) == [(1, "INTERRUPTED")]


@pytest.mark.parametrize("seconds", [-3600, -6, 6, 3600])
def test_a_clock_that_is_set_takes_no_trial_and_spends_no_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    books = queue(tmp_path, n_trials=3)
    clock.start(books.study)
    number = taken(books, CONTAINER)
    taken(books, str(this_process()))
    step(monkeypatch, seconds)
    assert recover(books) == []
    TrialRecord.writable(books.study, books.trials()[number]).heartbeat = clock.now(books.study)
    assert busy_seconds(books.trials()) < 5


def test_budgets_do_not_read_times_that_a_host_of_another_time_zone_wrote() -> None:
    trial = create_trial(value=1.0, user_attrs=TrialRecord.attributes(started=100.0, heartbeat=130.0))
    trial.datetime_start = datetime.now() - timedelta(hours=5)
    trial.datetime_complete = datetime.now()
    assert busy_seconds([trial]) == 30


def test_a_worker_waits_for_a_silent_one_and_not_for_one_that_is_heard_of(tmp_path: Path) -> None:
    books = queue(tmp_path, n_trials=1)
    number = taken(books, CONTAINER)
    assert more_may_come(books)  # it may have died right after its heartbeat
    record = TrialRecord.writable(books.study, books.trials()[number])
    record.heartbeat = clock.now(books.study)
    assert not more_may_come(books)
    record.heartbeat = clock.now(books.study) - SILENT_S - 1
    assert more_may_come(books)
    record.owner = DEAD  # it can be seen, so there is nothing to wait for
    assert not more_may_come(books)


@pytest.mark.parametrize("place", ["sign off", "tell"])
def test_who_lost_a_trial_cannot_tell_it_even_if_the_lock_was_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """The trial is taken over between the worker's check that it is the owner and what the worker writes."""
    books, other = queue(tmp_path, n_trials=1), queue(tmp_path, n_trials=1)
    trial = books.next_trial()
    assert trial is not None
    if place == "tell":
        books.sign_off(trial.number, Outcome(RunState.COMPLETE, [1.0]))
    check = books._check_mine

    def check_and_lose(number: int, trial: FrozenTrial | None) -> object:
        mine = check(number, trial)
        other.study.tell(number, state=TrialState.FAIL)
        return mine

    monkeypatch.setattr(books, "_check_mine", check_and_lose)
    with pytest.raises(TrialLost, match="taken over"):
        if place == "tell":
            books.tell(trial.number)
        else:
            books.sign_off(trial.number, Outcome(RunState.COMPLETE, [1.0]))
    assert count_finished(other.trials()) == 0


def test_a_heartbeat_in_the_future_counts_as_silent_from_now_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first start after a boot saw a clock that was an hour behind: now all earlier beats are ahead."""
    books = queue(tmp_path, n_trials=1)
    number = taken(books, str(replace(this_process(), boot="earlier")), silent=600)
    step(monkeypatch, -3600)
    clock.start(books.study)
    assert recover(books) == []
    assert more_may_come(books)  # its lease has begun to run out
    start = clock.now(books.study)
    monkeypatch.setattr(clock, "now", lambda study: start + GRACE_S)
    assert recover(books) == [(number, "INTERRUPTED")]


def test_another_boot_of_the_same_machine_is_dead_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    books = queue(tmp_path, n_trials=2)
    now, before = this_process(), replace(this_process(), boot="earlier")
    monkeypatch.setattr(clock, "machine_id", lambda: "machine")
    for process in (before, now):
        monkeypatch.setattr(clock, "this_process", lambda process=process: process)
        clock.start(books.study)
    number = taken(books, str(before))
    taken(books, str(replace(now, boot="of another machine")))
    assert recover(books) == [(number, "INTERRUPTED")]


def test_a_machine_that_slept_has_spent_no_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    books = queue(tmp_path)
    clock.start(books.study)
    before, real = clock.now(books.study), time.clock_gettime
    slept = {time.CLOCK_BOOTTIME: 3600.0}
    monkeypatch.setattr(time, "clock_gettime", lambda which: real(which) + slept.get(which, 0.0))
    assert clock.now(books.study) - before < 3600
