"""Determines how much each label weighs in the loss: `data.class_weights`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from finesweep.errors import ConfigError

if TYPE_CHECKING:
    from finesweep.tasks.base import Task


def class_weights(task: Task, names: Sequence[str], labels: Any) -> list[float] | None:
    """Returns a weight for each label id, or None if labels are not weighted.

    labels: the encoded label column of the training rows.
    Raises: ConfigError if weights and labels do not match, or if balanced weights are impossible because a
    label is on no row or on all rows.
    """
    wanted = task.config.class_weights
    if wanted is None:
        return None
    counts = task.class_counts(labels, len(names))
    if wanted == "balanced":
        with np.errstate(divide="ignore"):
            balanced = task.balanced_weights(counts, len(labels))
        if bad := [name for name, weight in zip(names, balanced, strict=True) if not 0 < weight < np.inf]:
            legal = f"a weight for each label: no training row, or every one, has the label {bad[0]!r}"
            raise ConfigError.at("data.class_weights", "balanced", legal)
        return [float(weight) for weight in balanced]
    given = {str(name): float(weight) for name, weight in wanted.items()}
    if given.keys() != set(names):
        raise ConfigError.at("data.class_weights", given, f"a weight for each of {', '.join(names)}")
    return [given[name] for name in names]
