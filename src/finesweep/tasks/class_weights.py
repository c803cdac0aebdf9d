"""How much each label weighs in the loss: `data.class_weights`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from finesweep.errors import ConfigError

if TYPE_CHECKING:
    from finesweep.tasks.base import Task


def class_weights(task: Task, names: Sequence[str], labels: Any) -> list[float] | None:
    """Gives a weight for each label id, or None where labels are not weighted.

    labels: the encoded column of the training rows.
    Raises: ConfigError for a label without a weight, a weight without a label, or, of balanced ones, a label
    without rows.
    """
    wanted = task.config.class_weights
    if wanted is None:
        return None
    counts = task.class_counts(labels, len(names))
    if wanted == "balanced":
        if missing := [name for name, count in zip(names, counts, strict=True) if count == 0]:
            legal = f"a weight for each label, for no training row is {missing[0]!r}"
            raise ConfigError.at("data.class_weights", "balanced", legal)
        return [float(weight) for weight in task.balanced_weights(counts, len(labels))]
    given = {str(name): float(weight) for name, weight in wanted.items()}
    if given.keys() != set(names):
        raise ConfigError.at("data.class_weights", given, f"a weight for each of {', '.join(names)}")
    return [given[name] for name in names]
