"""Liveness: which process owns a trial, and whether that process is alive."""

import os
import socket
import time
from functools import lru_cache

import psutil

BEAT_EVERY_S = 2.0
# A worker of another host that has not been heard of for this long is gone: 60 beats missed.
GRACE_S = 120.0
CLOCK_S = 5.0


@lru_cache
def _identity(pid: int) -> str:
    return f"{socket.gethostname()}|{pid}|{psutil.Process(pid).create_time():.2f}"


def this_owner() -> str:
    """Gives ``host|pid|start``; the start time tells this process from a later one of the same pid."""
    return _identity(os.getpid())


def is_gone(owner: str | None, beat: float | None) -> bool:
    """Tells whether a trial's owner has died: at once on this host, after the grace period on another.

    owner: None, read under the study's lock, means that the worker was killed before it wrote its name.
    """
    if owner is None:
        return True
    host, pid, start = owner.split("|")
    if host != socket.gethostname():
        return beat is not None and time.time() - beat > GRACE_S
    try:
        process = psutil.Process(int(pid))
        # Seconds of tolerance: psutil adds the boot time, which moves when the clock is set.
        other = abs(process.create_time() - float(start)) > CLOCK_S
        return other or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
