"""Isolation: runs a function in a new process."""

import gc
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from hydra.core.singleton import Singleton
from hydra.core.utils import setup_globals

from finesweep.worker import processes

T = TypeVar("T")


def in_fresh_process(function: Callable[[], T]) -> T:
    """Runs `function`, which is pickled, in a new process. First frees the GPU memory that torch caches."""
    gc.collect()
    if torch := sys.modules.get("torch"):
        torch.cuda.empty_cache()
    return processes.run_each([partial(_call, function, Singleton.get_state())])[0]


def where_torch_is(function: Callable[[], T]) -> T:
    """Runs `function` in a new process if a server imports torch for those; else here."""
    return in_fresh_process(function) if processes.server_runs() else function()


def _call(function: Callable[[], T], singletons: dict[Any, Any]) -> T:
    setup_globals()
    Singleton.set_state(singletons)
    return function()
