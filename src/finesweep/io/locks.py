"""Locks of files, which the operating system frees when their holder is killed."""

from pathlib import Path

from filelock import FileLock


def file_lock(path: Path, timeout_s: float = -1) -> FileLock:
    """Returns a lock that is not taken yet; taking it raises `filelock.Timeout` after `timeout_s`, if not -1.

    Raises: OSError where no file can be made, as under /proc: FileLock alone would try for ever.
    """
    path.open("ab").close()
    return FileLock(path, timeout=timeout_s)
