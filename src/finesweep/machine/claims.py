"""Claims of cores and GPUs: file locks, which the operating system frees when their process is killed."""

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

_held: dict[str, tuple[list[str], ExitStack]] = {}  # by kind: devices and their locks


def claimed(kind: str) -> list[str]:
    """Returns the devices of a kind that this process has claimed."""
    return _held[kind][0] if kind in _held else []


def claim(kind: str, devices: Mapping[str, str], count: int, slots: int = 1) -> list[str]:
    """Claims `count` of the devices, until this process ends. Returns none if too few are free.

    kind: cores or gpus. devices: name -> what it is called in locks, by every process of this user.
    slots: how many processes may claim one device. A process that has claimed some gets the same again.
    """
    if kind in _held:
        return claimed(kind)
    with _claiming(kind) as folder, ExitStack() as locks:
        names = _lock(folder, devices, count, slots, locks)
        if len(names) < count:
            return []
        _held[kind] = names, locks.pop_all()
        return names


def claim_rest(kind: str, devices: Mapping[str, str]) -> list[str]:
    """Claims those devices, too, that nobody holds. Returns what this process has then."""
    names, held = _held[kind]
    with _claiming(kind) as folder:
        others = {name: device for name, device in devices.items() if name not in names}
        names += _lock(folder, others, len(others), 1, held)
    return names


def count_free(kind: str, devices: Mapping[str, str], slots: int = 1) -> int:
    """Counts the slots of these devices that nobody holds at this moment."""
    with _claiming(kind) as folder, ExitStack() as locks:
        return sum(len(_lock_slot(folder, devices, len(devices), slot, locks)) for slot in range(slots))


@contextmanager
def _claiming(kind: str) -> Iterator[Path]:
    """Gives the folder of the locks to one process at a time, or two could hold a half of what both need."""
    folder = Path(tempfile.gettempdir()) / f"finesweep-{kind}-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    with FileLock(folder / "claiming.lock"):
        yield folder


def _lock(folder: Path, devices: Mapping[str, str], count: int, slots: int, locks: ExitStack) -> list[str]:
    """Locks `count` devices, or as many as are free: those first that fewest processes have."""
    names: list[str] = []
    for slot in range(slots):
        others = {name: device for name, device in devices.items() if name not in names}
        names += _lock_slot(folder, others, count - len(names), slot, locks)
    return names


def _lock_slot(
    folder: Path, devices: Mapping[str, str], count: int, slot: int, locks: ExitStack
) -> list[str]:
    names: list[str] = []
    for name, device in devices.items():
        if len(names) == count:
            break
        lock = FileLock(folder / (f"{device}.{slot}.lock" if slot else f"{device}.lock"), timeout=0)
        try:
            locks.enter_context(lock)
        except Timeout:
            continue
        names.append(name)
    return names
