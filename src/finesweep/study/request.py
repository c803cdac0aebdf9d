"""The request of one `-m` command."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from finesweep.config.run import Direction, RunConfig, metric_key
from finesweep.config.study import THROUGHPUT, SweepConfig
from finesweep.errors import ConfigError, did_you_mean
from finesweep.study.records import Request
from finesweep.study.space import Space
from finesweep.tasks import check_labels, direction_of, known_metrics, task_of


@dataclass
class SweepRequest:
    """One `-m` command: run config, study config, search space."""

    run: RunConfig  # the same for all trials, but for the space
    config: SweepConfig
    space: Space
    overrides: list[str]
    folder: str
    models: list[RunConfig]  # a config for each model that the space contains
    origin: Request  # how to compose it again

    @property
    def name(self) -> str:
        return str(self.config.study.name)

    @property
    def objectives(self) -> dict[str, Direction]:
        """The objectives and their directions; the first of several ranks the trials."""
        data = self.run.data
        return self.config.study.objectives or {metric_key(data.metric): direction_of(task_of(data))}

    def check_objectives(self, names: Sequence[str], labels: Any, rows: str = "evaluation rows") -> None:
        """Raises: ConfigError for an objective that no run has, or that cannot score these rows.

        labels: the encoded label column of the rows. rows: which ones.
        """
        task = task_of(self.run.data)
        fitting = [
            name for name in known_metrics(task)
            if name not in task.metrics or not task.misfit(name, names)
        ]  # fmt: skip
        legal = [*fitting, "loss", *THROUGHPUT]
        for name in self.config.study.objectives:
            if name not in legal:
                raise ConfigError(
                    f"hydra.sweeper.study.objectives: got {name!r}; {did_you_mean(name, legal)}"
                    f"known: {', '.join(legal)}"
                )
            check_labels(task, name, names, labels, "hydra.sweeper.study.objectives", rows)
