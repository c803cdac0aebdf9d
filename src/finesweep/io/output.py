"""Checks that output folders can be written and have room, and recognizes errors that say the opposite."""

import errno
import getpass
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from finesweep.errors import OutputError
from finesweep.io.atomic import remove, staged

REMEDY = (
    "make it writable (chmod, chown), or choose another folder: hydra.run.dir=DIR, for a sweep "
    "hydra.sweep.dir=DIR, for artifacts tracking.artifacts=DIR, for the cache cache_dir=DIR"
)
# A disk that is full, or takes no more: over quota, over a limit of file sizes, read-only, broken.
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)
# Messages of libraries that hide the error number: safetensors (the system's words), SQLite, torch.
DISK_TEXTS = (*map(os.strerror, DISK_ERRORS), "disk is full", "PytorchStreamWriter failed")


def check_writable(folder: Path, needed_bytes: int = 0) -> None:
    """Creates the folder, writes a probe file and compares free bytes: fails before a training, not after it.

    Raises: OutputError with the folder, the user, the missing right or bytes, and the remedy.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".probe-") as probe:
            probe.write(b"x")
            probe.flush()
    except OSError as error:
        raise OutputError(
            f"{folder}: user {user()} cannot write here ({error.strerror}); {REMEDY}"
        ) from error
    free = shutil.disk_usage(folder).free
    if free < needed_bytes:
        raise OutputError(
            f"{folder}: {free:,} bytes free, {needed_bytes:,} needed for checkpoints; free some, or "
            "choose another folder: hydra.run.dir=DIR, or hydra.sweep.dir=DIR for a sweep"
        )


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Yields an empty folder that becomes `folder` when the block ends: it appears whole or not at all.

    Raises: OutputError if `folder` is not empty, is the working folder, or cannot be written.
    """
    folder = folder.absolute()
    refusal = OutputError(f"{folder}: exists already; legal: a new folder, or an empty one elsewhere")
    is_new = not folder.exists() and not folder.is_symlink()
    if not is_new and (not folder.is_dir() or any(folder.iterdir()) or folder.resolve() == Path.cwd()):
        raise refusal
    try:
        with ExitStack() as stack:
            try:
                folder.parent.mkdir(parents=True, exist_ok=True)
                staging = stack.enter_context(staged(folder, folder=True))
            except OSError as error:
                raise OutputError(f"{folder}: cannot be written ({error.strerror})") from error
            yield staging
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):  # somebody else was faster
            raise refusal from error
        raise


def can_write(folder: Path) -> bool:
    """Tells whether files can be made in a folder, or the folder itself if it is not there yet."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return os.access(there, os.W_OK | os.X_OK)


def remove_refused(folder: Path, hydra: str, project: Path) -> None:
    """Removes the folder of a run that was refused, and its parents inside of `project` that are empty then.

    It stays if it holds anything but what Hydra wrote before the run could start: its configs, in the
    subfolder `hydra`, and the run's log, whose lines are on the terminal too.
    """
    logs = {getattr(handler, "baseFilename", None) for handler in logging.getLogger().handlers}
    if any(path.name != hydra and str(path) not in logs for path in folder.iterdir()):
        return
    for path in folder.iterdir():
        remove(path)
    for path in (folder, *folder.parents):
        if path == project or not path.is_relative_to(project) or any(path.iterdir()):
            return
        path.rmdir()


def is_output_error(error: BaseException) -> bool:
    """Tells whether the cause is a disk that takes no more, or an unusable folder, for any library."""
    return any(
        isinstance(cause, OutputError)
        or getattr(cause, "errno", None) in DISK_ERRORS
        or any(text in str(cause) for text in DISK_TEXTS)
        for cause in causes(error)
    )


@contextmanager
def explaining_removal(folder: Path) -> Iterator[None]:
    """Raises OutputError in place of an error that comes of files of this folder that were removed."""
    try:
        yield
    except Exception as error:
        if not _was_removed(folder, error):
            raise
        raise OutputError(
            f"{folder}: files of this run were removed while it was writing there; "
            "let them stay until it ends"
        ) from error


def _was_removed(folder: Path, error: Exception) -> bool:
    named = any(str(folder) in str(cause) and _says_missing(str(cause)) for cause in causes(error))
    return named or not folder.exists()


def _says_missing(text: str) -> bool:
    """Recognizes the error of the system, also as safetensors reports it, and that of torch."""
    return "No such file or directory" in text or "does not exist" in text


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yields the error, the error that it was raised from, and so on; `from None` ends it."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)


def user() -> str:
    """Returns the user's name, or the user's number if it has no name, as in a bare container."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
