"""Which errors say that a store is away, and how long calls are repeated."""

import sqlite3
from collections.abc import Callable

import psycopg
import pytest
import requests
from mlflow.exceptions import MlflowException
from optuna.exceptions import StorageInternalError
from sqlalchemy import exc

from finesweep.errors import StoreAway, StoreError
from finesweep.io import patience
from finesweep.io.patience import Patience, is_away, patient, single_attempts, store_error, working_time

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


@pytest.mark.parametrize(
    "error",
    [ValueError("bad"), OSError("broken"), TimeoutError(), sqlite3.DatabaseError("of a metric"),
     MlflowException("refused")],
)  # fmt: skip
def test_an_error_of_a_training_is_none_of_a_store(error: Exception) -> None:
    assert store_error(error) is None


def test_an_error_that_was_raised_from_none_is_not_what_was_handled_before_it() -> None:
    with pytest.raises(ValueError, match="bad label") as caught:
        try:
            raise StoreError("away") from LOCKED
        except StoreError:
            raise ValueError("bad label") from None
    assert store_error(caught.value) is None
    assert not is_away(caught.value)


@patient("ask")
class Store:
    """Its method raises an error, which is the store's trouble unless it is a KeyError."""

    def __init__(self, error: Exception) -> None:
        self.patience, self.error = Patience(60, "the store (its.key)"), error

    @staticmethod
    def is_trouble(error: Exception) -> bool:
        return not isinstance(error, KeyError)

    def ask(self) -> None:
        raise self.error


def test_trouble_of_a_store_is_a_store_error_and_its_answers_stay_what_they_are() -> None:
    with pytest.raises(KeyError):
        Store(KeyError("unknown study")).ask()
    with pytest.raises(StoreError, match=r"the store \(its.key\) cannot be used: OSError.*stale") as caught:
        Store(OSError(116, "stale file handle")).ask()
    assert not is_away(caught.value)
    with single_attempts(), pytest.raises(StoreAway, match="does not answer.*locked") as away:
        Store(sql(LOCKED)).ask()
    assert is_away(away.value)  # so that a whole section that failed can be repeated


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


@pytest.fixture
def time_of_day(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """A clock that stands still; the function lets seconds pass."""
    now = [1000.0]
    monkeypatch.setattr(patience.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(patience.time, "sleep", lambda seconds: pass_by(seconds))
    monkeypatch.setattr(patience, "_waited_s", 0.0)

    def pass_by(seconds: float) -> None:
        now[0] += seconds

    return pass_by


def test_time_spent_waiting_is_no_working_time(time_of_day: Callable[[float], None]) -> None:
    attempts = iter([LOCKED, LOCKED, None])

    def inner() -> None:
        time_of_day(5)  # SQLite waits
        if error := next(attempts):
            raise sql(error)

    before = working_time()
    Patience(60, "it").call(inner)
    assert working_time() - before == pytest.approx(5)  # of the attempt that succeeded


def test_waiting_inside_of_waiting_is_counted_once(time_of_day: Callable[[float], None]) -> None:
    outer = iter([True, False])

    def section() -> None:
        Patience(60, "it").call(failing(1))
        if next(outer):
            time_of_day(1)
            raise sql(LOCKED)

    before = working_time()
    Patience(60, "it").call(section)
    assert -0.001 < working_time() - before < 0.001


def test_the_patience_begins_with_the_first_failure_and_not_with_the_work_before_it(
    time_of_day: Callable[[float], None],
) -> None:
    attempts = failing(1)

    def work() -> int:
        time_of_day(100)
        return attempts()

    assert Patience(60, "it").call(work) == 2


def test_another_error_passes_at_once() -> None:
    def call() -> None:
        raise ValueError("bad")

    with pytest.raises(ValueError, match="bad"):
        Patience(60, "it").call(call)
