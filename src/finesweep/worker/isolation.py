"""Isolation: runs a function in a new process; ends a worker's process that nobody waits for."""

import gc
import logging
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, TypeVar

from hydra.core.singleton import Singleton
from hydra.core.utils import setup_globals

from finesweep.machine import fork_server
from finesweep.machine.process import ProcessIdentity

log = logging.getLogger(__name__)
T = TypeVar("T")


def in_fresh_process(function: Callable[[], T]) -> T:
    """Runs `function`, which is pickled, in a new process. First frees the GPU memory that torch caches."""
    gc.collect()
    if torch := sys.modules.get("torch"):
        torch.cuda.empty_cache()
    return fork_server.run_each([partial(_call, function, Singleton.get_state())])[0]


def where_torch_is(function: Callable[[], T]) -> T:
    """Runs `function` in a new process if a server imports torch for those; else, or if that dies, here."""
    if fork_server.server_runs():
        with suppress(BrokenProcessPool):  # it was killed; the answer only takes longer in this process
            return in_fresh_process(function)
    return function()


@contextmanager
def ending_if_orphaned(command: str) -> Iterator[None]:
    """Ends this process after the body if it is a joblib worker whose launching process is gone.

    Nobody takes its result, and joblib would keep it, with all its memory and its cores, for five minutes.
    """
    try:
        yield
    finally:
        is_joblibs = multiprocessing.current_process().name.startswith("LokyProcess")
        if is_joblibs and ProcessIdentity.parse(command).is_alive() is False:
            if sys.exception():
                log.error("the worker ended, and nobody waits for it", exc_info=True)
            os._exit(0)


def _call(function: Callable[[], T], singletons: dict[Any, Any]) -> T:
    setup_globals()
    Singleton.set_state(singletons)
    return function()
