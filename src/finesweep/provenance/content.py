"""Hashes what a run reads: the rows as read and as encoded, and the files of the model."""

import hashlib
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset

from finesweep.config.run import ModelConfig
from finesweep.data import Splits, fingerprint
from finesweep.io.hub import model_commit
from finesweep.io.model_files import file_hashes
from finesweep.provenance.fields import Model, Split


def split_content(rows: Dataset, encoded: Dataset | None = None) -> Split:
    """Hashes a split as read and, if it was encoded, as encoded."""
    encoded_hashes = None if encoded is None else column_hashes(encoded)
    return Split(len(rows), fingerprint(rows), column_hashes(rows), encoded_hashes)


def all_splits(splits: Splits, train: Dataset, evaluation: Dataset) -> dict[str, Split]:
    """Hashes every split. `train` and `evaluation` are encoded; the others are encoded when predicted."""
    content = {"train": split_content(splits.train, train), "eval": split_content(splits.eval, evaluation)}
    if splits.final_eval is not None:
        content["final_eval"] = split_content(splits.final_eval)
    if splits.submission is not None:
        sample = splits.submission.sample
        content["submission template"] = Split(len(sample.ids), sample.sha256, {"file": sample.sha256})
    return content | {f"test {name}": split_content(rows) for name, rows in splits.test.items()}


def column_hashes(dataset: Dataset) -> dict[str, str]:
    """Hashes each column's values in order; Arrow's chunks make no difference."""
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


def model_content(config: ModelConfig) -> Model:
    """Describes the base model: its commit on the hub, or the hashes of its folder's files."""
    if config.name_or_path is None:
        return Model("built here")
    folder = Path(config.name_or_path)
    if folder.is_dir():
        return Model("folder", files=file_hashes(folder))
    return Model("hub", id=config.name_or_path, commit=model_commit(config.name_or_path, config.revision))
