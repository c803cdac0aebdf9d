"""Checkpoints that are whole or not there, and are verified by checksum before they are used.

A folder such as `step-000120` holds a checkpoint's files and `manifest.json`, which has the size and SHA-256
of each. A kill at any moment leaves at most a `.staging-*` folder, which nothing reads.
"""

import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from finesweep.io.atomic import remove, staged, write_text
from finesweep.io.reading import Unreadable, read_object

log = logging.getLogger(__name__)

MANIFEST = "manifest.json"
# Files that only a resumed training needs: they are never published, and some of them are pickles.
RESUME_FILES = ("optimizer.pt", "scheduler.pt", "scaler.pt", "trainer_state.json", "observer.json")
RANDOM_STATES = re.compile(r"rng_state(_\d+)?\.pth")  # with a number: of one of several processes


def save(write: Callable[[Path], None], parent: Path, step: int) -> Path:
    """Has `write` fill an empty folder, which becomes `parent/step-NNNNNN`. Returns that folder."""
    parent.mkdir(parents=True, exist_ok=True)
    target = parent / f"step-{step:06d}"
    with staged(target, folder=True, replace_folder=True, sync=True) as staging:
        write(staging)
        write_manifest(staging)
    return target


def publish(folder: Path, target: Path) -> Path:
    """Makes `target` from a checkpoint, without the files that only resuming needs. Returns `target`.

    The checkpoint itself stays, so a kill in between loses nothing. What it leaves lies beside the
    checkpoint, and goes when a retry of the trial removes its checkpoints.
    """
    with staged(target, folder=True, replace_folder=True, sync=True, parent=folder.parent) as staging:
        for path in folder.iterdir():
            if path.name not in (*RESUME_FILES, MANIFEST) and not RANDOM_STATES.fullmatch(path.name):
                _link_or_copy(path, staging / path.name)
        write_manifest(staging)
    return target


def _link_or_copy(path: Path, target: Path) -> None:
    try:
        os.link(path, target)
    except OSError:  # a file system without hard links
        shutil.copyfile(path, target)


def write_manifest(folder: Path) -> None:
    """Writes the manifest of the files that are in the folder now."""
    (folder / MANIFEST).unlink(missing_ok=True)
    files = {
        str(path.relative_to(folder)): {"size": path.stat().st_size, "sha256": sha256(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    (folder / MANIFEST).write_text(json.dumps({"files": files}, indent=1) + "\n")


def find_damage(folder: Path) -> str | None:
    """Compares every file with the manifest. Returns the first difference, or None for a whole checkpoint."""
    if not folder.is_dir():
        return "not a folder"
    try:
        files = _read_manifest(folder)
        return next(filter(None, (_compare(folder, name, files[name]) for name in files)), None)
    except (OSError, Unreadable) as error:
        return f"manifest: {error}" if isinstance(error, Unreadable) else str(error)


def _read_manifest(folder: Path) -> dict[str, dict[str, Any]]:
    """Returns size and SHA-256 by file. Raises: Unreadable if it is none, or lists no weights."""
    files = read_object(folder / MANIFEST).get("files")
    if not isinstance(files, dict) or not all(isinstance(entry, dict) for entry in files.values()):
        raise Unreadable("its `files` are no objects")
    if not any(name.endswith(".safetensors") for name in files):
        raise Unreadable("it lists no weights")
    return files


def _compare(folder: Path, name: str, expected: dict[str, Any]) -> str | None:
    path = folder / name
    if ".." in path.parts or not path.is_relative_to(folder):
        return f"{name}: lies outside of the checkpoint"
    if not path.is_file():
        return f"{name}: missing"
    if path.stat().st_size != expected.get("size"):
        return f"{name}: {path.stat().st_size} bytes, the manifest says {expected.get('size')}"
    if sha256(path) != expected.get("sha256"):
        return f"{name}: content differs from its manifest"
    return None


def newest(parent: Path, find_problem: Callable[[Path], str | None] = find_damage) -> Path | None:
    """Returns the newest checkpoint without a problem; renames the others to `damaged-*`.

    Why, a log message says, and a file REASON in a renamed folder.
    """
    for folder in sorted(_checkpoints(parent), key=_step, reverse=True):
        reason = find_problem(folder)
        if reason is None:
            return folder
        log.warning("%s is damaged (%s); it is renamed, and an older checkpoint is used", folder, reason)
        aside = folder.with_name(f"damaged-{folder.name}")
        remove(aside)
        folder.rename(aside)
        if aside.is_dir() and not aside.is_symlink():
            (aside / "REASON").write_text(reason + "\n")
    return None


def _checkpoints(parent: Path) -> list[Path]:
    return [path for path in parent.glob("step-*") if re.fullmatch("step-[0-9]+", path.name)]


def _step(folder: Path) -> int:
    return int(folder.name.removeprefix("step-"))


def resumable(
    folder: Path, identity: str, find_problem: Callable[[Path], str | None] = find_damage
) -> Path | None:
    """Returns the newest checkpoint without a problem of the training with this identity.

    Empties the folder if another training's checkpoints are in it, or if its identity cannot be read, and
    notes the identity there. The folder becomes a real one if it is a link: weights are renamed out of it.
    """
    file = folder / "identity"
    is_folder = folder.is_dir() and not folder.is_symlink()
    if is_folder and _holds(file, identity):
        return newest(folder, find_problem)
    if folder.is_symlink() or (folder.exists() and not is_folder):
        log.warning("%s is not a folder; it is replaced by one", folder)
    elif is_folder and _checkpoints(folder):
        log.warning("%s holds checkpoints of another config, or its identity is damaged: removed", folder)
    remove(folder)
    folder.mkdir(parents=True)
    write_text(file, identity, sync=True)  # before the checkpoints that it stands for
    return None


def _holds(file: Path, text: str) -> bool:
    try:
        return file.is_file() and file.read_bytes() == text.encode()
    except OSError:
        return False


def keep_only(parent: Path, kept: set[Path]) -> None:
    """Removes the other checkpoints under `parent`. The caller has verified the ones to keep."""
    for path in _checkpoints(parent):
        if path not in kept:
            remove(path)


def weights_sha256(folder: Path) -> str:
    """Returns the SHA-256 of a checkpoint's weights by its manifest; for several files, of their hashes.

    The caller has verified the checkpoint.
    """
    files = _read_manifest(folder)
    hashes = [files[name]["sha256"] for name in sorted(files) if name.endswith(".safetensors")]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()


def sha256(path: Path) -> str:
    """Returns the SHA-256 of one file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
