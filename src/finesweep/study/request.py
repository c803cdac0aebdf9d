"""What a command asks for."""

from dataclasses import dataclass

from finesweep.config.run import Direction, RunConfig
from finesweep.config.study import THROUGHPUT, SweepConfig
from finesweep.errors import ConfigError
from finesweep.study.space import Space
from finesweep.tasks.metrics import fitting


@dataclass
class SweepRequest:
    """A study, or more of one."""

    run: RunConfig  # the same for all trials, but for the space
    config: SweepConfig
    space: Space
    overrides: list[str]
    folder: str

    @property
    def name(self) -> str:
        return str(self.config.study.name)

    @property
    def objectives(self) -> dict[str, Direction]:
        """One or several; the first one ranks."""
        return self.config.study.objectives or {self.run.data.metric: self.run.data.direction}

    def check_objectives(self) -> None:
        """Raises: ConfigError for an objective that no run has."""
        data = self.run.data
        legal = [*fitting(data.problem_type, len(data.labels or ["a", "b"])), "loss", *THROUGHPUT]
        for name in self.config.study.objectives:
            if name not in legal:
                raise ConfigError(f"hydra.sweeper.study.objectives: got {name!r}; known: {', '.join(legal)}")
