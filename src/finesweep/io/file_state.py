"""Tells whether files have changed, without reading them, for the caches of a process."""

import os
import time
from collections.abc import Iterable
from pathlib import Path

# A change within so many nanoseconds may leave a file's times as they are: a kernel's clock ticks at 100 Hz.
TICK_NS = 20_000_000

State = tuple[tuple[str, int, int, int], ...]


def state_of(paths: Iterable[Path]) -> State:
    """Returns path, size, time of change in ns and inode of each file; what is no file is left out.

    A later state that is equal says that none was edited, replaced, added or removed since. It waits for a
    moment, `TICK_NS`, if a file has just been written.
    """
    files = sorted(path for path in paths if path.is_file())
    found = [(path, os.stat(path)) for path in files]
    age = time.time_ns() - max((status.st_mtime_ns for _, status in found), default=0)
    if 0 <= age < TICK_NS:
        time.sleep(TICK_NS / 1e9)
        return state_of(files)
    return tuple((str(path), status.st_size, status.st_mtime_ns, status.st_ino) for path, status in found)


def folder_state(folder: str | Path | None) -> State:
    """Returns the state of the files in a folder, not of those below; empty if it is no folder."""
    return state_of(Path(folder).iterdir()) if folder and Path(folder).is_dir() else ()
