"""Determines the label names of a run, and converts labels from names to ids."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from datasets import Dataset

from finesweep.config.run import DataConfig
from finesweep.data.source import LABEL, Source, make_dataset
from finesweep.data.split import Part
from finesweep.errors import ConfigError, DataError
from finesweep.tasks.base import Task, in_order
from finesweep.tasks.cells import is_number

_LISTED = 30  # label names in a message
_MANY = 20  # so many whole numbers, most of them on one row only, are no labels


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
    counts = Counter(name for part in train for label in part.rows[LABEL][:] for name in task.names_in(label))
    if config.labels is not None:
        if len(set(config.labels)) < len(config.labels) or len(config.labels) < 2:
            raise ConfigError.at("data.labels", config.labels, "two or more different names, or null")
        return list(config.labels)
    if config.label_columns:
        return list(config.label_columns)
    declared = [source.declared_names(part.split) for part in train]
    if declared[0] is not None and len(counts) >= 2 and all(names == declared[0] for names in declared):
        return list(declared[0])
    _check_counts(config, counts, source.where(train[0].split))
    return in_order(counts)


def _check_counts(config: DataConfig, counts: Counter[str], where: str) -> None:
    """Raises: DataError for labels of training rows that are fewer than two, or look like numbers."""
    if len(counts) < 2:
        only = f"only the label {next(iter(counts))!r}" if counts else "no label"
        raise DataError(
            f"{where}: data.train_split={config.train_split!r} has {only} in column "
            f"{config.label_column!r}; a classifier needs at least two different labels"
        )
    if len(counts) >= _MANY and len(counts) > counts.total() / 2 and all(map(is_number, counts)):
        raise DataError(
            f"{where}: column {config.label_column!r} holds {len(counts)} different "
            f"numbers on {counts.total()} rows; to predict numbers, set data.problem_type=regression "
            "data.metric=pearson; if they are names, list all of them in data.labels"
        )


def number_labels(part: Part, names: Sequence[str] | None, source: Source, task: Task) -> Dataset:
    """Returns the part's rows with label ids in place of names; unchanged if the source gives ids or numbers.

    Raises: DataError for a label that is not among the names.
    """
    if names is None or source.label_names is not None:
        return part.rows
    ids = {name: index for index, name in enumerate(names)}
    labels = part.rows[LABEL][:]
    _check_known(part, labels, names, source, task)
    encoded = [task.encode(label, ids) for label in labels]
    text = {name: part.rows[name][:] for name in part.rows.column_names if name != LABEL}
    return make_dataset(text, encoded, task.id_feature, task.text_feature)


def _check_known(part: Part, labels: list[Any], names: Sequence[str], source: Source, task: Task) -> None:
    """Raises: DataError for labels that are not among the names; it shows the first and counts the rows."""
    known = set(names)
    unknown = [(row, name) for row, label in enumerate(labels) for name in task.names_in(label)
               if name not in known]  # fmt: skip
    if not unknown:
        return
    row, name = unknown[0]
    rows = len({row for row, _ in unknown})
    count = f"; {rows} rows of this split have unknown labels" if rows > 1 else ""
    legal = ", ".join(names) if len(names) <= _LISTED else f"{', '.join(names[:_LISTED])}, ..."
    raise DataError(
        f"{source.place(part.split, part.start + row)}: unknown label {name!r}; legal: {legal} "
        f"(data.labels, or the labels of data.train_split){count}"
    )


def _fixed_names(config: DataConfig, names: list[str]) -> list[str]:
    if config.labels is not None and list(config.labels) != names:
        raise ConfigError.at("data.labels", config.labels, f"{names} (the ids of {config.name}), or null")
    return names
