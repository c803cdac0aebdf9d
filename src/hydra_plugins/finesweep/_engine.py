"""What a launcher is that starts workers by an engine, such as SLURM, on hosts of the engine's choice."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from finesweep.cluster.reach import check_leaves_host
from finesweep.config.run import RunConfig
from finesweep.errors import ConfigError

if TYPE_CHECKING:
    from finesweep.study.request import SweepRequest  # imports optuna


class EngineLauncher(Launcher):
    """Starts commands in place of jobs: each is a worker that reads from the study all that it needs.

    So nothing is pickled, and the workers do not need the process that launched them.
    """

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.context, self.task_function, self.config = hydra_context, task_function, config

    name: str  # of the launcher, as in hydra/launcher=NAME

    @abstractmethod
    def hosts(self) -> Mapping[str, str]:
        """Returns the hosts where workers may start: name -> address.

        Raises: ConfigError if the engine is not there.
        """

    def check_reach(self, run: RunConfig, storage: str, folder: str) -> None:
        """Refuses stores and folders that workers on these hosts could not reach.

        The places are as they were given, before relative ones are made absolute.
        Raises: ConfigError.
        """
        check_leaves_host(f"hydra/launcher={self.name}", self.hosts(), run, storage, folder)

    @abstractmethod
    def check(self, sweep: "SweepRequest", workers: int) -> None:
        """Checks that the engine can start so many workers, before a study is made. Raises: ConfigError."""

    @abstractmethod
    def start_workers(self, command: Sequence[str], workers: int, folder: Path) -> None:
        """Starts `workers` copies of a command, and returns when none of them runs or waits any more.

        command: its words. folder: of the sweep, for scripts and logs.
        Raises: ConfigError for what the engine refuses.
        """

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Raises: ConfigError: only finesweep's sweeper uses this launcher."""
        raise ConfigError(
            "hydra/launcher: starts finesweep's workers alone; legal with hydra/sweeper=finesweep"
        )
