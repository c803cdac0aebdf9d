"""Determines the label names of a run, and converts labels from names to ids."""

from collections import Counter
from collections.abc import Sequence

from datasets import Dataset

from finesweep.config.run import DataConfig
from finesweep.data.source import LABEL, Source, make_dataset
from finesweep.data.split import Part
from finesweep.errors import ConfigError, DataError
from finesweep.tasks.base import Task, in_order


def label_names(config: DataConfig, source: Source, train: Sequence[Part], task: Task) -> list[str] | None:
    """Returns the label names, ordered by id; None if labels are numbers.

    Raises:
        ConfigError: `data.labels` does not fit.
        DataError: the training rows have fewer than two different labels.
    """
    if not task.has_names:
        return None
    if source.label_names is not None:
        return _fixed_names(config, list(source.label_names))
    counts = Counter(name for part in train for label in part.rows[LABEL] for name in task.names_in(label))
    if config.labels is not None:
        if len(set(config.labels)) < len(config.labels) or len(config.labels) < 2:
            raise ConfigError.at("data.labels", config.labels, "two or more different names, or null")
        return list(config.labels)
    if config.label_columns:
        return list(config.label_columns)
    if len(counts) < 2:
        only = f"only the label {next(iter(counts))!r}" if counts else "no label"
        raise DataError(
            f"{source.where(train[0].split)}: data.train_split={config.train_split!r} has {only} in column "
            f"{config.label_column!r}; a classifier needs at least two different labels"
        )
    return in_order(counts)


def number_labels(part: Part, names: Sequence[str] | None, source: Source, task: Task) -> Dataset:
    """Returns the part's rows with label ids in place of names; unchanged if the source gives ids or numbers.

    Raises: DataError for a label that is not among the names.
    """
    if names is None or source.label_names is not None:
        return part.rows
    ids = {name: index for index, name in enumerate(names)}
    encoded = []
    for offset, label in enumerate(part.rows[LABEL]):
        if unknown := [name for name in task.names_in(label) if name not in ids]:
            raise DataError(
                f"{source.where(part.split)}, row {part.start + offset + 1}: unknown label {unknown[0]!r}; "
                f"legal: {', '.join(names)} (data.labels, or the labels of data.train_split)"
            )
        encoded.append(task.encode(label, ids))
    text = {name: list(part.rows[name]) for name in part.rows.column_names if name != LABEL}
    return make_dataset(text, encoded, task.id_feature, task.text_feature)


def _fixed_names(config: DataConfig, names: list[str]) -> list[str]:
    if config.labels is not None and list(config.labels) != names:
        raise ConfigError.at("data.labels", config.labels, f"{names} (the ids of {config.name}), or null")
    return names
