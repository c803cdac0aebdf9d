"""Labels by name become ids."""

from collections import Counter
from collections.abc import Sequence

from datasets import Dataset

from finesweep.config.run import DataConfig, ProblemType
from finesweep.data.source import LABEL, Source, make_dataset
from finesweep.data.split import Part
from finesweep.errors import ConfigError, DataError


def label_names(config: DataConfig, source: Source, train: Sequence[Part]) -> list[str] | None:
    """The names in the order of their ids; None for regression.

    Raises:
        ConfigError: `data.labels` does not fit. DataError: the training rows hold fewer than two labels.
    """
    if config.problem_type is ProblemType.regression:
        return None
    if source.label_names is not None:
        return _fixed_names(config, list(source.label_names))
    if config.labels is not None:
        if len(set(config.labels)) < len(config.labels) or len(config.labels) < 2:
            raise ConfigError.at("data.labels", config.labels, "two or more different names, or null")
        return list(config.labels)
    found = Counter(name for part in train for name in part.rows[LABEL])
    if len(found) < 2:
        raise DataError(
            f"{source.where(train[0].split)}: data.train_split={config.train_split!r} has only the label "
            f"{next(iter(found))!r} in column {config.label_column!r}; a classifier needs two or more"
        )
    return _in_order(list(found))


def number_labels(part: Part, names: Sequence[str] | None, source: Source) -> Dataset:
    """The part's rows with ids in place of names; unchanged where the source gives ids or scores."""
    rows = part.rows
    if rows.features[LABEL].dtype != "string" or names is None:
        return rows
    ids = {name: index for index, name in enumerate(names)}
    labels = list(rows[LABEL])
    for offset, label in enumerate(labels):
        if label not in ids:
            raise DataError(
                f"{source.where(part.split)}, row {part.start + offset + 1}: unknown label {label!r}; "
                f"legal: {', '.join(names)} (data.labels, or the labels of data.train_split)"
            )
    text = {name: list(rows[name]) for name in rows.column_names if name != LABEL}
    return make_dataset(text, [ids[label] for label in labels], "int64")


def _fixed_names(config: DataConfig, names: list[str]) -> list[str]:
    if config.labels is not None and list(config.labels) != names:
        raise ConfigError.at("data.labels", config.labels, f"{names} (the ids of {config.name}), or null")
    return names


def _in_order(names: list[str]) -> list[str]:
    """Sorted, and as numbers if they all are: 2 before 10."""
    try:
        return sorted(names, key=int)
    except ValueError:
        return sorted(names)
