"""Tells whether files have changed, without reading them, for the caches of a process."""

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

# A change within so many nanoseconds may leave a file's times as they are: a kernel's clock ticks at 100 Hz.
TICK_NS = 20_000_000
ATTEMPTS = 25  # a file that is written for longer has another state afterwards

State = tuple[tuple[str, int, int, int], ...]


def state_of(paths: Iterable[Path]) -> State:
    """Returns path, size, time of change in ns and inode of each file; what is no file is left out.

    A later state that is equal says that none was edited, replaced, added or removed since. It waits for a
    moment, `TICK_NS`, if a file has just been written.
    """
    files = sorted(paths)
    for _ in range(ATTEMPTS):
        found = list(_states(files))
        newest = max((time_ns for _, _, time_ns, _ in found), default=0)
        if not 0 <= time.time_ns() - newest < TICK_NS:
            break
        time.sleep(TICK_NS / 1e9)
    return tuple(found)


def _states(files: Iterable[Path]) -> Iterator[tuple[str, int, int, int]]:
    for path in files:
        with suppress(FileNotFoundError):  # removed meanwhile
            if path.is_file():
                status = os.stat(path)
                yield str(path), status.st_size, status.st_mtime_ns, status.st_ino


def folder_state(folder: str | Path | None) -> State:
    """Returns the state of the files in a folder, not of those below; empty if it is no folder."""
    return state_of(Path(folder).iterdir()) if folder and Path(folder).is_dir() else ()
