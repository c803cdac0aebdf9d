"""Describes what a run reads for MLflow, which lists it beside the run: names, hashes, places, but no row."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from datasets import Dataset

from finesweep.config.run import DataConfig, DataSource
from finesweep.data import Splits
from finesweep.data.glue_hub import REPOSITORY
from finesweep.io.redaction import redact_urls
from finesweep.tracking import DataInput

TEST = "test "  # begins the names of the splits to predict in a run's provenance


def data_inputs(config: DataConfig, splits: Splits, hashes: Mapping[str, str]) -> list[DataInput]:
    """Describes the splits whose SHA-256 is given, by their names in the run's provenance.

    MLflow lists one data set of a name and a digest, so a further split of equal rows has a longer name.
    """
    source_type, source = _source(config)
    described = [split for split in _described(config, splits) if split[0] in hashes]
    firsts = {hashes[name]: name for name, *_ in reversed(described)}
    return [
        DataInput(
            name=config.name if firsts[hashes[name]] == name else f"{config.name} {name}",
            context=context,
            sha256=hashes[name],
            source_type=source_type,
            source=json.dumps(source | {"split": split}),
            rows=len(rows),
            columns={column: str(kind) for column, kind in _types(rows).items()},
        )
        for name, context, split, rows in described
    ]


def _described(config: DataConfig, splits: Splits) -> Iterable[tuple[str, str, str | None, Dataset]]:
    """Yields each split: its name in provenance, what it is for, its name in the source, its rows."""
    held_out = config.train_split if config.holdout else config.eval_split
    yield "train", "train", config.train_split, splits.train
    yield "eval", "eval", held_out, splits.eval
    if splits.final_eval is not None:
        yield "final_eval", "final_eval", config.final_eval_split or config.eval_split, splits.final_eval
    for name, rows in splits.test.items():
        yield f"{TEST}{name}", "test", name, rows


def _types(rows: Dataset) -> dict[str, Any]:
    return {name: getattr(kind, "dtype", "list") for name, kind in rows.features.items()}


def _source(config: DataConfig) -> tuple[str, dict[str, Any]]:
    """Returns MLflow's name for a type of source, and the place."""
    if config.path is not None:
        return "local", {"uri": redact_urls(config.path)}
    if config.source is DataSource.glue:
        return "hugging_face", {"path": REPOSITORY, "config_name": config.glue_task}
    return "code", {"tags": {"data.source": config.source.value, "data.demo_rows": config.demo_rows}}
