"""Hashes the files of a model that lies in a folder."""

import hashlib
import json
from functools import lru_cache
from pathlib import Path

from finesweep.io import checkpoint
from finesweep.io.file_state import State, state_of
from finesweep.io.hub import WEIGHTS

MODEL_FILES = (*WEIGHTS, "*.json", "*.txt", "*.model")  # weights, sizes, and every kind of tokenizer


def file_hashes(folder: Path) -> dict[str, str]:
    """Returns the SHA-256 of each file that a model is loaded from, by its name."""
    paths = sorted(path for name in MODEL_FILES for path in folder.glob(name) if path.is_file())
    return {path.name: _file_hash(path, state_of([path])) for path in paths}


def folder_hash(name_or_path: str | None) -> str | None:
    """Returns one SHA-256 of all these files; None for a model that is no folder."""
    if name_or_path is None or not Path(name_or_path).is_dir():
        return None
    return hashlib.sha256(json.dumps(file_hashes(Path(name_or_path))).encode()).hexdigest()


@lru_cache
def _file_hash(path: Path, state: State) -> str:
    return checkpoint.sha256(path)
