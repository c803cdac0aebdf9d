"""A database that executes a write and whose answer is lost, or that loses the study's lock."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
import psycopg
import pytest
from sqlalchemy import exc
from test_study import complete, hand_back, queue, recover

from finesweep.config.study import ConfirmConfig
from finesweep.errors import ConfigError
from finesweep.io import patience
from finesweep.io.patience import single_attempts
from finesweep.study import server, storage
from finesweep.study.lock import study_lock
from finesweep.study.patient_storage import PatientStorage
from finesweep.study.queue import TrialQueue
from finesweep.study.records import TrialRecord
from finesweep.study.remaining import is_over, more_may_come
from finesweep.study.server import connect_args
from finesweep.study.storage import open_storage


@pytest.fixture(autouse=True)
def as_postgresql(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under the lock each call is made once, as where a restart frees it."""

    @contextmanager
    def held(books: TrialQueue) -> Iterator[None]:
        with study_lock(books.config.storage, books.name), single_attempts():
            yield

    monkeypatch.setattr(TrialQueue, "lock", held)
    monkeypatch.setattr(patience, "PAUSES_S", (0.0,))


def answer_lost(function: Callable[..., Any], when: Callable[..., bool]) -> Callable[..., Any]:
    """Executes the first call that `when` chooses, and loses its answer."""
    lost: list[bool] = []

    def call(*args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        if not lost and when(*args, **kwargs):
            lost.append(True)
            reset = psycopg.OperationalError("server closed the connection unexpectedly")
            raise exc.OperationalError("COMMIT", {}, reset, connection_invalidated=True)
        return result

    return call


def take(books: TrialQueue) -> optuna.Trial | None:
    def attempt() -> optuna.Trial | None:
        recover(books)
        return books.next_trial()

    return books.patience.call(attempt)


@pytest.mark.parametrize("written", ["owner", "started"])
def test_a_trial_whose_owner_or_point_was_written_without_an_answer_is_taken_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    books = queue(tmp_path, n_trials=1)
    lost = answer_lost(
        PatientStorage.write, lambda self, trial_id, attrs, params={}, systems={}, steps={}: written in attrs
    )
    monkeypatch.setattr(PatientStorage, "write", lost)
    trial = take(books)
    assert trial is not None
    complete(books, trial.number, 1.0)
    assert [trial.state.name for trial in books.trials()] == ["FAIL", "COMPLETE"]
    assert books.trials()[0].params == (books.trials()[1].params if written == "started" else {})
    assert not TrialRecord(books.trials()[1]).worker_deaths
    assert take(books) is None
    assert not more_may_come(books)
    assert is_over(books)


def test_a_confirmation_that_was_added_without_an_answer_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    books = queue(tmp_path, n_trials=1, confirm=ConfirmConfig(top_k=1, seeds=1))
    trial = books.next_trial()
    assert trial is not None
    complete(books, trial.number, 1.0)
    monkeypatch.setattr(optuna.Study, "add_trial", answer_lost(optuna.Study.add_trial, lambda *_: True))
    confirmation = take(books)
    assert confirmation is not None
    assert not TrialRecord(confirmation).worker_deaths
    complete(books, confirmation.number, 1.0)
    assert is_over(books)


def test_a_trial_that_this_process_runs_is_not_lost_and_one_that_it_let_go_is(tmp_path: Path) -> None:
    books = queue(tmp_path, n_trials=1)
    trial = books.next_trial()
    assert trial is not None
    assert recover(books) == []
    books.let_go(trial.number)
    assert recover(books) == [(trial.number, "INTERRUPTED")]


def test_two_workers_never_run_one_number_even_if_the_lock_was_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = queue(tmp_path, n_trials=2), queue(tmp_path, n_trials=2)
    first = one.next_trial()
    assert first is not None
    hand_back(one, first.number)
    stale, two._has_read = iter([two.skim()]), True  # read under a lock that was then lost
    mine = one.next_trial()
    read = two.skim
    monkeypatch.setattr(two, "skim", lambda: next(stale, None) or read())
    yours = two.patience.call(two.next_trial)
    assert next(stale, None) is None  # it was believed at first
    assert mine is not None
    assert yours is not None
    assert mine.number != yours.number


def test_a_server_that_hangs_is_given_up_and_the_address_may_set_its_own_limits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limits = connect_args("postgresql+psycopg://u@h/db?connect_timeout=3")
    assert "connect_timeout" not in limits
    assert {"keepalives_idle", "tcp_user_timeout"} <= limits.keys()
    assert connect_args("postgresql+pg8000://u@h/db") == {}
    asked: list[dict[str, object]] = []

    def hang(**arguments: object) -> None:
        asked.append(arguments)
        raise psycopg.errors.ConnectionTimeout("connection timeout expired")

    monkeypatch.setattr(psycopg, "connect", lambda *_, **arguments: hang(**arguments))
    with pytest.raises(ConfigError, match="cannot open.*connection timeout expired"):  # at the first look
        open_storage("postgresql+psycopg://u@h/db")
    monkeypatch.setattr(storage, "is_made", lambda _: True)
    with pytest.raises(ConfigError, match="cannot open.*connection timeout expired"):  # at the storage
        open_storage("postgresql+psycopg://u@h/db")
    assert [arguments.items() >= server.TIMEOUTS.items() for arguments in asked] == [True, True]
