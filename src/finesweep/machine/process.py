"""The identity of a process: which host, boot and PID namespace it belongs to, and when it started."""

import hashlib
import os
import socket
from dataclasses import astuple, dataclass, replace
from functools import lru_cache
from pathlib import Path

import psutil

UNKNOWN = "-"  # for a boot and a namespace, where the system has no /proc to read them from
DEAD_STATES = ("Z", "X", "x")  # of a process that has ended; man 5 proc
START_TIME = 19  # index of the start in clock ticks since boot, behind the name in /proc/PID/stat


@dataclass(frozen=True)
class ProcessIdentity:
    """Names one process: no other process, before or after it, on this host or another one, has this name.

    A pid means something only in its boot and PID namespace. The start is in clock ticks since boot, so it
    does not move when the clock is set; without /proc, it is what psutil says.
    """

    host: str
    boot: str
    namespace: str
    pid: str
    start: str

    def __str__(self) -> str:
        return "|".join(astuple(self))

    @classmethod
    def parse(cls, text: str) -> "ProcessIdentity":
        """Reads what `str` wrote. ``host|pid|start``, of earlier versions, has no boot and no namespace."""
        host, *middle, pid, start = text.split("|") if text.count("|") >= 2 else (text, "", "")
        boot, namespace = middle if len(middle) == 2 else ("", "")
        return cls(host, boot, namespace, pid, start)

    def is_alive(self) -> bool | None:
        """Tells whether the process is running; None if that cannot be seen from this process.

        Another host, boot or PID namespace cannot be seen, nor can what /proc hides from this user.
        """
        here = this_process()
        if self == here:
            return True
        if replace(self, pid=here.pid, start=here.start) != here or _is_foreign_proc():
            return None
        start = _start_of(self.pid)
        return None if start is None else start == self.start


def this_process() -> ProcessIdentity:
    return _identity(os.getpid())


@lru_cache
def _identity(pid: int) -> ProcessIdentity:
    host = socket.gethostname()
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        namespace = os.readlink("/proc/self/ns/pid").strip("pid:[]")
        return ProcessIdentity(host, boot, namespace, str(pid), str(_stat("self")[START_TIME]))
    except OSError:
        return ProcessIdentity(host, UNKNOWN, UNKNOWN, str(pid), f"{psutil.Process(pid).create_time():.2f}")


@lru_cache
def machine_id() -> str | None:
    """Returns a hash of the machine's id, which stays over reboots; None where the system keeps none.

    The id itself is confidential. Source: man 5 machine-id.
    """
    try:
        text = Path("/etc/machine-id").read_text().strip()
    except (OSError, ValueError):
        return None
    return hashlib.sha256(f"finesweep {text}".encode()).hexdigest()[:16] if text else None


def _is_foreign_proc() -> bool:
    """Tells whether /proc shows another PID namespace, where the pids of this one mean other processes."""
    return this_process().boot != UNKNOWN and os.readlink("/proc/self") != str(os.getpid())


def _start_of(pid: str) -> str | None:
    """Returns the start of the running process with this pid; empty if none runs, None if it is hidden."""
    try:
        if this_process().boot == UNKNOWN:
            process = psutil.Process(int(pid))
            is_dead = process.status() == psutil.STATUS_ZOMBIE
            return "" if is_dead else f"{process.create_time():.2f}"
        state, *fields = _stat(pid)
        return "" if state in DEAD_STATES else fields[START_TIME - 1]
    except (OSError, ValueError, psutil.NoSuchProcess):
        hidden = pid.isdecimal() and psutil.pid_exists(int(pid))  # /proc is mounted with `hidepid`
        return None if hidden else ""


def _stat(pid: str) -> list[str]:
    """Reads the fields of /proc/PID/stat behind the name, which may hold any character."""
    return Path("/proc", pid, "stat").read_text(errors="replace").rpartition(")")[2].split()
