"""Isolation: runs a function in a new process."""

import gc
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from hydra.core.singleton import Singleton
from hydra.core.utils import setup_globals
from joblib.externals.loky import ProcessPoolExecutor

T = TypeVar("T")


def in_fresh_process(function: Callable[[], T]) -> T:
    """Runs `function`, which is pickled, in a new process. First frees the GPU memory that torch caches."""
    gc.collect()
    if torch := sys.modules.get("torch"):
        torch.cuda.empty_cache()
    with ProcessPoolExecutor(max_workers=1) as pool:
        result: T = pool.submit(_call, function, Singleton.get_state()).result()
        return result


def _call(function: Callable[[], T], singletons: dict[Any, Any]) -> T:
    setup_globals()
    Singleton.set_state(singletons)
    return function()
