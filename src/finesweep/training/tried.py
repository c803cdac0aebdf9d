"""Remembers which models have been tried out. Imports no torch, so that a sweep starts quickly."""

import hashlib
import json
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from finesweep.config.run import RunConfig
from finesweep.data.load import files_state
from finesweep.io.file_state import folder_state
from finesweep.io.hub import model_commit

_FORMAT = 1  # increase it when the try-out checks more, so that models are tried out again


def marker(config: RunConfig, labels: list[str] | None) -> Path:
    """Returns the file that exists once the model has been tried out with this data and these label names."""
    model = replace(config.model, name="", dropout=0.0 if config.model.dropout is not None else None)
    parts = [_FORMAT, version("transformers"), version("torch"), repr((model, config.data)), labels]
    parts += [version("peft"), repr(config.peft)] if config.peft else []
    text = json.dumps([*parts, _files(config), files_state(config.data)])
    return Path(config.cache_dir) / "tried" / hashlib.sha256(text.encode()).hexdigest()[:32]


def _files(config: RunConfig) -> Any:
    """Returns what changes when the model's files change: their state, or the hub's commit."""
    name = config.model.name_or_path
    if name is None:
        return None
    if not Path(name).is_dir():
        return model_commit(name, config.model.revision)
    return folder_state(name)
