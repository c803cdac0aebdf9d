"""The task types: how each one reads, learns, scores and predicts labels. `base.Task` is their contract.

task = task_of(config.data)
check_metric(task, names)
compute_metrics = Scorer(task, names)
"""

from finesweep.config.run import DataConfig, ProblemType
from finesweep.errors import ConfigError
from finesweep.tasks.base import Task
from finesweep.tasks.classification import Classification
from finesweep.tasks.multi_label import MultiLabel
from finesweep.tasks.regression import Regression
from finesweep.tasks.scoring import (
    Scorer,
    check_labels,
    check_metric,
    direction_of,
    known_metrics,
    score_name,
)
from finesweep.tasks.tokens import Tokens

TYPES: dict[ProblemType, type[Task]] = {
    task.problem_type: task for task in (Classification, Regression, MultiLabel, Tokens)
}


def task_of(config: DataConfig) -> Task:
    """Creates the task that the config describes. Raises: ConfigError for keys of other task types."""
    task = TYPES[config.problem_type](config)
    task.check_config()
    if config.positive_label is not None and not isinstance(task, Classification):
        legal = f"null for data.problem_type={task.problem_type.value}"
        raise ConfigError.at("data.positive_label", config.positive_label, legal)
    if config.standardize and not isinstance(task, Regression):
        legal = f"null or false for data.problem_type={task.problem_type.value}"
        raise ConfigError.at("data.standardize", config.standardize, legal)
    return task


__all__ = [
    "TYPES",
    "Scorer",
    "Task",
    "check_labels",
    "check_metric",
    "direction_of",
    "known_metrics",
    "score_name",
    "task_of",
]
