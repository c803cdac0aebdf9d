"""Checkpoints that are whole or not there: staged, synced, checksummed, renamed into place.

A folder `step-000120` under a parent holds whatever `write` puts there and, written last, `manifest.json`
with the size and sha256 of each file. A kill at any moment leaves at most a `.staging-*` folder, which
nothing reads.
"""

import getpass
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from finesweep.errors import OutputError
from finesweep.io.atomic import umask, write_text

REMEDY = (
    "make it writable (chmod, chown), or choose another folder: hydra.run.dir=DIR, for a sweep "
    "hydra.sweep.dir=DIR, for artifacts tracking.artifacts=DIR"
)
MANIFEST = "manifest.json"
# What only a resumed training needs; three of them are pickles, none of them is published.
RESUME_FILES = ("optimizer.pt", "scheduler.pt", "scaler.pt", "rng_state.pth", "trainer_state.json",
                "observer.json")  # fmt: skip


def save(write: Callable[[Path], None], parent: Path, step: int) -> Path:
    """Writes `parent/step-NNNNNN` whole, or not at all. Returns the folder.

    `write` gets an empty folder on the same file system. Files end up readable as the umask says: safetensors
    writes 0600, which would hide a checkpoint from everybody else.
    """
    parent.mkdir(parents=True, exist_ok=True)
    target = parent / f"step-{step:06d}"
    staging = Path(tempfile.mkdtemp(prefix=".staging-", dir=parent))
    try:
        write(staging)
        seal(staging)
        shutil.rmtree(target, ignore_errors=True)  # an older try at the same step
        staging.rename(target)
        _sync(parent)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return target


def seal(folder: Path) -> None:
    """Sets modes by the umask, syncs every file, and writes the manifest last."""
    folder.chmod(0o777 & ~umask())
    (folder / MANIFEST).unlink(missing_ok=True)
    files = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        path.chmod(0o666 & ~umask())
        _sync(path)
        files[str(path.relative_to(folder))] = {"size": path.stat().st_size, "sha256": sha256(path)}
    (folder / MANIFEST).write_text(json.dumps({"files": files}, indent=1) + "\n")
    _sync(folder / MANIFEST)
    _sync(folder)


def damage(folder: Path) -> str | None:
    """Why a checkpoint cannot be used, or None if every file is what its manifest says."""
    try:
        files = json.loads((folder / MANIFEST).read_text())["files"]
    except (OSError, ValueError, KeyError) as error:
        return f"manifest: {error}"
    for name, expected in files.items():
        path = folder / name
        if not path.is_file():
            return f"{name}: missing"
        if path.stat().st_size != expected["size"]:
            return f"{name}: {path.stat().st_size} bytes, the manifest says {expected['size']}"
        if sha256(path) != expected["sha256"]:
            return f"{name}: content differs from its manifest"
    return None


def weights_sha256(folder: Path) -> str:
    """Of a whole checkpoint's weights, as its manifest has it; of several files, of their hashes in order."""
    files = json.loads((folder / MANIFEST).read_text())["files"]
    hashes = [files[name]["sha256"] for name in sorted(files) if name.endswith(".safetensors")]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()


def newest(parent: Path) -> Path | None:
    """The newest whole checkpoint under `parent`; damaged ones become `damaged-*`, with the reason."""
    for folder in sorted(parent.glob("step-*"), reverse=True):
        reason = damage(folder)
        if reason is None:
            return folder
        aside = folder.with_name(f"damaged-{folder.name}")
        shutil.rmtree(aside, ignore_errors=True)
        folder.rename(aside)
        (aside / "REASON").write_text(reason + "\n")
    return None


def keep_only(parent: Path, kept: set[Path]) -> None:
    """Removes the other checkpoints; called only after what is kept has been verified."""
    for folder in parent.glob("step-*"):
        if folder not in kept:
            shutil.rmtree(folder)


def publish(folder: Path, target: Path) -> Path:
    """`target`: the checkpoint without what only resuming needs. `folder` stays: a kill loses nothing."""
    staging = Path(tempfile.mkdtemp(prefix=".staging-", dir=target.parent))
    try:
        for path in folder.iterdir():
            if path.name not in (*RESUME_FILES, MANIFEST):
                _link_or_copy(path, staging / path.name)
        seal(staging)
        shutil.rmtree(target, ignore_errors=True)
        staging.rename(target)
        _sync(target.parent)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return target


def _link_or_copy(path: Path, target: Path) -> None:
    try:
        os.link(path, target)
    except OSError:  # a file system without hard links
        shutil.copyfile(path, target)


def claim(folder: Path, identity: str) -> Path | None:
    """The newest whole checkpoint of the same training; what another one left in `folder` is removed."""
    name = folder / "identity"
    if name.is_file() and name.read_text() == identity:
        return newest(folder)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_text(name, identity)
    return None


def prove_writable(folder: Path, room_bytes: int = 0) -> None:
    """Fails before training rather than after an epoch.

    Raises: OutputError naming the path, the user, the missing right or the bytes, and the remedy.
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
    if free < room_bytes:
        raise OutputError(
            f"{folder}: {free:,} bytes free, {room_bytes:,} needed for checkpoints; free some, or "
            "choose another folder: hydra.run.dir=DIR, or hydra.sweep.dir=DIR for a sweep"
        )


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no name for this uid, as in a bare container
        return str(os.getuid())


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
