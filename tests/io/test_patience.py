"""Which errors say that a store is away, and how long calls are repeated."""

import sqlite3
from collections.abc import Callable

import psycopg
import pytest
import requests
from mlflow.exceptions import MlflowException
from optuna.exceptions import StorageInternalError
from sqlalchemy import exc

from finesweep.errors import StoreError
from finesweep.io import patience
from finesweep.io.patience import Patience, is_away, is_store_error, single_attempts, working_time

LOCKED = sqlite3.OperationalError("database is locked")


def sql(error: Exception) -> exc.OperationalError:
    return exc.OperationalError("UPDATE trials", {}, error)


def raised(error: Exception, cause: Exception) -> Exception:
    try:
        raise error from cause
    except Exception as chained:
        return chained


@pytest.mark.parametrize(
    "error",
    [
        sql(LOCKED),
        raised(StorageInternalError("An exception is raised during the commit."), sql(LOCKED)),
        raised(MlflowException("(sqlite3.OperationalError) database is locked"), sql(LOCKED)),
        sql(psycopg.OperationalError("connection failed: Connection refused")),
        sql(psycopg.errors.AdminShutdown("terminating connection due to administrator command")),
        sql(psycopg.errors.CannotConnectNow("the database system is starting up")),
        sql(psycopg.errors.TooManyConnections("too many clients already")),
        raised(MlflowException("API request failed"), requests.exceptions.ConnectionError("refused")),
        raised(MlflowException("API request failed"), requests.exceptions.ReadTimeout("read timed out")),
        raised(MlflowException("API request failed"), requests.exceptions.RetryError("too many 503")),
        exc.TimeoutError("QueuePool limit"),
    ],
)
def test_a_store_that_is_locked_or_away_is_known_by_its_error(error: Exception) -> None:
    assert is_away(error)
    assert is_store_error(error)


@pytest.mark.parametrize(
    "error",
    [
        sql(sqlite3.OperationalError("no such table: trials")),
        sql(sqlite3.OperationalError("database or disk is full")),
        sql(psycopg.errors.UndefinedTable("relation does not exist")),
        sql(psycopg.errors.DiskFull("could not extend file")),
        MlflowException("Run with id=1 not found"),
        raised(StoreError("did not answer"), sql(LOCKED)),
    ],
)
def test_an_error_that_will_not_go_away_by_itself_is_not_waited_for(error: Exception) -> None:
    assert not is_away(error)
    assert is_store_error(error)


@pytest.mark.parametrize("error", [ValueError("bad"), OSError("broken"), MemoryError(), TimeoutError()])
def test_an_error_of_a_training_is_none_of_a_store(error: Exception) -> None:
    assert not is_away(error)
    assert not is_store_error(error)


def failing(times: int) -> Callable[[], int]:
    """Fails so often, then gives the number of the attempt."""
    attempts = 0

    def call() -> int:
        nonlocal attempts
        attempts += 1
        if attempts <= times:
            raise sql(LOCKED)
        return attempts

    return call


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "PAUSES_S", ())
    monkeypatch.setattr(patience, "LAST_PAUSE_S", 0.01)


def test_a_call_is_repeated_until_the_store_answers() -> None:
    assert Patience(60, "it").call(failing(3)) == 4


def test_past_the_patience_the_store_and_the_cause_are_named_and_nothing_waits_again() -> None:
    store = Patience(0.05, "the store (its.key)")
    with pytest.raises(
        StoreError, match=r"the store \(its.key\) did not answer for 0.05 s.*database is locked"
    ):
        store.call(failing(1000))
    once_more = failing(1)
    with pytest.raises(StoreError):
        store.call(once_more)
    assert store.call(once_more) == 2
    assert store.call(failing(2)) == 3  # it has answered in between


def test_who_has_something_better_to_do_asks_once() -> None:
    with single_attempts(), pytest.raises(exc.OperationalError):
        Patience(60, "it").call(failing(1))


def test_time_spent_waiting_is_no_working_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr(patience.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(patience, "_waited_s", 0.0)
    Patience(60, "it").call(failing(1))  # looks at the clock: began, waited, twice counted, answered
    assert working_time() < next(clock) - 10


def test_another_error_passes_at_once() -> None:
    def call() -> None:
        raise ValueError("bad")

    with pytest.raises(ValueError, match="bad"):
        Patience(60, "it").call(call)
