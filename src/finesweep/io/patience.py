"""Repeats calls to a store that is locked, away or restarting: its trouble must not become a trial's failure.

Both stores go through here: Optuna's storage and MLflow's client. All that they raise of their own trouble is
a StoreError, so nobody has to know the exceptions of their libraries.
"""

import logging
import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from itertools import chain, repeat
from typing import Any, ParamSpec, TypeVar

from sqlalchemy import exc

from finesweep.errors import StoreAway, StoreError, first_line
from finesweep.io.output import causes

log = logging.getLogger(__name__)
P = ParamSpec("P")
T = TypeVar("T")
C = TypeVar("C", bound=type)

PAUSES_S = (0.1, 0.3, 1.0)  # between the first attempts
LAST_PAUSE_S = 2.0  # between all others
# PostgreSQL's codes of a server that is away, shuts down, starts, has no connection left, or waits for locks.
# Source: https://www.postgresql.org/docs/current/errcodes-appendix.html
AWAY_SQLSTATES = ("08", "57P", "53300", "55P03", "40001", "40P01")
# Of `requests`, by name, because only MLflow depends on it. RetryError: the server answered 429 or 5xx.
AWAY_REQUESTS = {"ConnectionError", "Timeout", "RetryError", "ChunkedEncodingError"}

_once: ContextVar[bool] = ContextVar("once", default=False)
_RANDOM = random.SystemRandom()  # neither the trainings' own nor the same in all forks
_waited_s = 0.0  # by this process, for all its stores


class Patience:
    """How long calls to one store are repeated while it is away.

    Once that is over, each further call is made a single time, until one succeeds: a process that ends
    because of a store must not wait for it again and again.
    """

    def __init__(
        self, seconds: float, store: str, waits_for: Callable[[BaseException], bool] | None = None
    ) -> None:
        """store: what to call it in messages, with the key that says where it is.

        waits_for: tells whether a call is repeated after an error; by default, if the store is away.
        """
        self.seconds, self.store, self.waits_for = seconds, store, waits_for or is_away
        self.is_over = False
        self._told = False

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Calls `function` until the store answers. Raises: StoreError when the patience is over.

        The patience begins with the first failure: what `function` did until then may have been work.
        """
        global _waited_s
        failed_at = None
        for pause in chain(PAUSES_S, repeat(LAST_PAUSE_S)):
            attempted_at, waited_before = time.monotonic(), _waited_s
            try:
                result = function(*args, **kwargs)
                break
            except Exception as error:
                if _once.get() or not self.waits_for(error):
                    raise
                failed_at = failed_at or time.monotonic()
                self._pause(error, time.monotonic() - failed_at, pause)
                # Calls that `function` made and that waited themselves are counted once.
                _waited_s = waited_before + time.monotonic() - attempted_at
        self._answered(0.0 if failed_at is None else time.monotonic() - failed_at)
        return result

    @contextmanager
    def naming(self, is_trouble: Callable[[Exception], bool]) -> Iterator[None]:
        """Raises the store's trouble in the body as a StoreError, and any other error as it is."""
        try:
            yield
        except StoreError:
            raise
        except Exception as error:
            if not is_trouble(error):
                raise
            raise self.trouble(error) from error

    def trouble(self, error: Exception) -> StoreError:
        """Returns the error of a store that has not done what it was asked for."""
        if is_away(error):
            return StoreAway(f"{self.store} does not answer: {describe(error)}")
        return StoreError(f"{self.store} cannot be used: {describe(error)}; see to it")

    def _pause(self, error: Exception, waited: float, pause: float) -> None:
        cause = describe(error)
        if self.is_over or waited + pause > self.seconds:
            self.is_over = True
            raise StoreError(
                f"{self.store} did not answer for {self.seconds:g} s, the patience: {cause}"
            ) from error
        if not self._told:
            log.warning("%s does not answer; tried again for %g s: %s", self.store, self.seconds, cause)
            self._told = True
        time.sleep(pause * _RANDOM.uniform(0.5, 1.0))  # or all workers would come back at once

    def _answered(self, waited: float) -> None:
        if self._told:
            log.warning("%s answers again, after %.0f s", self.store, waited)
        self.is_over = self._told = False


def patient(*names: str) -> Callable[[C], C]:
    """Makes a class decorator: the named methods are called with the patience of their object.

    What the object's `is_trouble` says of an error decides whether a method raises it as a StoreError.
    """

    def decorate(cls: C) -> C:
        for name in names:
            setattr(cls, name, _patient(getattr(cls, name)))
        return cls

    return decorate


def _patient(method: Callable[..., T]) -> Callable[..., T]:
    @wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> T:
        patience: Patience = self.patience
        with patience.naming(self.is_trouble):
            return patience.call(method, self, *args, **kwargs)

    return call


@contextmanager
def single_attempts() -> Iterator[None]:
    """Lets calls in the body fail at the first attempt, in this thread: its caller has something better."""
    token = _once.set(True)
    try:
        yield
    finally:
        _once.reset(token)


def working_time() -> float:
    """Returns the seconds of a clock that stands still while this process waits for a store."""
    return time.monotonic() - _waited_s


def is_away(error: BaseException) -> bool:
    """Tells whether a store is locked, away or restarting, so that the same call may succeed later."""
    if isinstance(error, StoreError):
        return isinstance(error, StoreAway)
    return any(map(_says_away, causes(error)))


def _says_away(cause: BaseException) -> bool:
    if isinstance(cause, exc.DBAPIError):
        return cause.connection_invalidated or (cause.orig is not None and _says_away(cause.orig))
    if isinstance(cause, sqlite3.OperationalError):
        return "locked" in str(cause) or "busy" in str(cause)
    module, names = type(cause).__module__, {base.__name__ for base in type(cause).__mro__}
    if module.startswith("requests."):
        return bool(names & AWAY_REQUESTS)
    if module.startswith("psycopg") and "OperationalError" in names:
        sqlstate = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
        return sqlstate is None or sqlstate.startswith(AWAY_SQLSTATES)  # None: no connection at all
    return isinstance(cause, exc.TimeoutError)  # no connection of the pool became free


def store_error(error: BaseException) -> StoreError | None:
    """Returns the error of a store that this error came of; None if it came out of the training."""
    return next((cause for cause in causes(error) if isinstance(cause, StoreError)), None)


def describe(error: BaseException) -> str:
    """Returns type and first line of the error that the others were raised from."""
    *_, first = causes(error)
    return f"{type(first).__name__}: {str(first).strip().partition(chr(10))[0]}"


def reason(error: Exception) -> str:
    """Returns why a store could not be opened, for a message that names the store itself."""
    return describe(error) if isinstance(error, StoreError) else first_line(error)
