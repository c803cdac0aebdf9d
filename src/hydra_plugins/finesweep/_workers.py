"""Starts the workers of a prepared study: by Hydra's launcher, in this command, or by an engine."""

import os
import socket
import sys
from collections.abc import Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict, read_write

from finesweep.errors import SweepFailed
from finesweep.io.job_secrets import by_reference
from finesweep.study.request import SweepRequest
from finesweep.study.signals import stop, this_command
from finesweep.worker.allotment import Allotment
from finesweep.worker.prepared import PreparedStudy
from finesweep.worker.worker import STORAGE, Worker
from hydra_plugins.finesweep._engine import EngineLauncher
from hydra_plugins.finesweep._references import without_secrets
from hydra_plugins.finesweep.launcher import FinesweepLauncher

MAX_RESTARTS = 10  # of the workers in one command


@dataclass
class Workers:
    """Starts workers with what Hydra gave the sweeper."""

    context: HydraContext
    task_function: TaskFunction
    master: DictConfig

    def start(self, sweep: SweepRequest, prepared: PreparedStudy, engine: EngineLauncher | None) -> None:
        """Starts the workers by the launcher that the config names, and returns when all have ended."""
        if engine:
            return engine.start_workers(_command(sweep), prepared.workers, Path(sweep.folder))
        worker = self._worker(sweep, prepared, (this_command(),))
        self._keep_secrets(sweep.folder)
        with read_write(self.master), open_dict(self.master):
            if "n_jobs" in self.master.hydra.launcher:
                self.master.hydra.launcher.n_jobs = prepared.workers
        launcher = Plugins.instance().instantiate_launcher(
            hydra_context=self.context, task_function=worker, config=self.master
        )
        self._launch(launcher, prepared)

    def join(
        self, sweep: SweepRequest, prepared: PreparedStudy, launched_by: str | None, allotment: Allotment
    ) -> int:
        """Runs workers in processes of this command. Returns how many trials they ended."""
        commands = (this_command(), *([launched_by] if launched_by else []))
        worker = replace(self._worker(sweep, prepared, commands), allotment=allotment)
        self._keep_secrets(sweep.folder)
        launcher = FinesweepLauncher()
        launcher.setup(hydra_context=self.context, task_function=worker, config=self.master)
        prepared.queue.close()  # it connects again when the workers have ended
        return sum(job.return_value for job in self._launch(launcher, prepared))

    def _worker(self, sweep: SweepRequest, prepared: PreparedStudy, commands: tuple[str, ...]) -> Worker:
        return Worker(
            self.task_function,
            self.context,
            self.master,
            prepared.overrides,
            sweep.config,
            sweep.space,
            sweep.run.seed,
            sweep.run.tracking,
            sweep.run.data.name,
            prepared.parent_run_id,
            prepared.placement,
            commands,
            prepared.noted,
        )

    def _keep_secrets(self, folder: str) -> None:
        for config in (self.master, HydraConfig.instance().cfg):  # launchers write both into files
            if isinstance(config, DictConfig):
                without_secrets(config)
        with read_write(self.master), open_dict(self.master):
            self.master.hydra.sweep.dir = folder

    def _launch(self, launcher: Launcher, prepared: PreparedStudy) -> Sequence[JobReturn]:
        """Starts the workers again when a launcher gives up all of them because one was killed."""
        jobs = [_job(prepared.overrides, index) for index in range(prepared.workers)]
        for _ in range(MAX_RESTARTS):
            try:
                return list(map(_succeeded, launcher.launch(jobs, initial_job_idx=0)))
            except BrokenProcessPool as error:
                if stop.requested:
                    raise KeyboardInterrupt from error
                prepared.recover()
                print(f"a worker died ({type(error).__name__}); starting the workers again", file=sys.stderr)
        raise SweepFailed(f"workers died {MAX_RESTARTS} times; is there memory for hydra.sweeper.workers?")


def _succeeded(job: JobReturn) -> JobReturn:
    if job.status is JobStatus.FAILED:  # `return_value` would print a line of its own
        raise job._return_value
    return job


def _job(overrides: Sequence[str], index: int) -> list[str]:
    """Gives the overrides of a worker's Hydra job: its folder, and a log file instead of the terminal."""
    name = f"worker-{socket.gethostname()}-{os.getpid()}-{index}"
    return [*overrides, f"hydra.sweep.subdir={name}", "hydra.job_logging.root.handlers=[file]"]


def _command(sweep: SweepRequest) -> list[str]:
    """Writes the command of a worker, for a shell of any host. A password is the name of a variable."""
    storage = by_reference(STORAGE, sweep.config.study.storage)
    return [
        sys.executable, "-m", "finesweep", "worker", sweep.name, "--storage", storage,
        "--project", sweep.origin.project, "--command", this_command(),
    ]  # fmt: skip
