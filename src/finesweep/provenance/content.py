"""Hashes what a run reads: the rows as read and as encoded, and the files of the model."""

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset

from finesweep.config.run import ModelConfig
from finesweep.data import Splits, fingerprint
from finesweep.io import checkpoint
from finesweep.io.hub import WEIGHTS, model_commit

MODEL_FILES = (*WEIGHTS, "*.json", "*.txt", "*.model")  # weights, sizes, and every kind of tokenizer


def split_content(rows: Dataset, encoded: Dataset | None = None) -> dict[str, Any]:
    """Hashes of a split: as read, by column, and as encoded."""
    found = {"rows": len(rows), "sha256": fingerprint(rows), "columns": column_hashes(rows)}
    return found | ({"encoded": column_hashes(encoded)} if encoded is not None else {})


def all_splits(splits: Splits, train: Dataset, evaluation: Dataset) -> dict[str, Any]:
    """`train` and `evaluation` are encoded; what is predicted later adds its own."""
    found = {"train": split_content(splits.train, train), "eval": split_content(splits.eval, evaluation)}
    if splits.final_eval is not None:
        found["final_eval"] = split_content(splits.final_eval)
    return found | {f"test {name}": split_content(rows) for name, rows in splits.test.items()}


def column_hashes(dataset: Dataset) -> dict[str, str]:
    """SHA-256 of each column's values in order, however they are cut into chunks."""
    table = dataset.with_format("arrow")[:]
    return {name: _column_hash(table[name]) for name in table.column_names}


def _column_hash(column: pa.ChunkedArray) -> str:
    digest = hashlib.sha256()
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        digest.update(pc.list_value_length(column).to_numpy().astype("int64").tobytes())
        column = pc.list_flatten(column)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        digest.update(pc.binary_length(column).to_numpy().astype("int64").tobytes())
        for chunk in column.chunks:
            digest.update("".join(chunk.to_pylist()).encode())
    else:
        digest.update(str(column.type).encode())
        digest.update(column.to_numpy().tobytes())
    return digest.hexdigest()


def model_content(config: ModelConfig) -> dict[str, Any]:
    """The commit of a hub's model, the hashes of a folder's files; of one that is built here, nothing."""
    if config.name_or_path is None:
        return {"source": "built here"}
    folder = Path(config.name_or_path)
    if folder.is_dir():
        return {"source": "folder", "files": _file_hashes(folder)}
    return {"source": "hub", "id": config.name_or_path,
            "commit": model_commit(config.name_or_path, config.revision)}  # fmt: skip


def _file_hashes(folder: Path) -> dict[str, str]:
    paths = sorted(path for pattern in MODEL_FILES for path in folder.glob(pattern))
    return {path.name: _file_hash(path, path.stat().st_mtime_ns, path.stat().st_size) for path in paths}


@lru_cache
def _file_hash(path: Path, changed: int, size: int) -> str:
    return checkpoint.sha256(path)
