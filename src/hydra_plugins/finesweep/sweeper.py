"""`python train.py -m`: makes a study and its workers of Hydra's arguments; the work is done in finesweep."""

import os
import sys
from collections.abc import Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from finesweep.config.parse import parse_config
from finesweep.config.places import absolute_tracking, absolute_url
from finesweep.config.shown import only_show
from finesweep.config.study import SweepConfig, check_sweep
from finesweep.errors import SweepFailed
from finesweep.machine.imports import import_all

# Dictionaries of the sweep, where any key is legal.
OPEN = ("params", "study.objectives", "study.sampler_options", "study.pruner_options")


def _schema() -> DictConfig:
    """Builds the schema of `hydra.sweeper`, whose dictionaries take new keys without a `+`."""
    schema = OmegaConf.structured(SweepConfig)
    for key in OPEN:
        OmegaConf.set_struct(OmegaConf.select(schema, key), False)
    assert isinstance(schema, DictConfig)
    return schema


ConfigStore.instance().store(group="hydra/sweeper", name="finesweep", node=_schema(), provider="finesweep")

MAX_RESTARTS = 10  # of the workers in one command
NAMING = ("data", "model")  # config groups that, given on the command line, become part of the study's name


class FinesweepSweeper(Sweeper):
    """Hands the launcher a worker instead of the task function, as many times as there are workers."""

    def __init__(self, **sweep: Any) -> None:
        self.sweep_node = OmegaConf.merge(OmegaConf.structured(SweepConfig), sweep)

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.context, self.task_function, self.master = hydra_context, task_function, config
        self.loader: ConfigLoader = hydra_context.config_loader

    def sweep(self, arguments: list[str]) -> Any:
        """Checks the request, runs the workers, prints the summary, and returns the request (`SweepRequest`).

        Raises: FinesweepError.
        """
        if only_show.get():
            from finesweep.study.shown import describe

            print(describe(self._request(arguments)))
            return None
        if "FinesweepLauncher" in str(self.master.hydra.launcher._target_):
            from finesweep.machine.fork_server import start_server

            start_server()  # before anything else is imported here: its imports take the longest
        import_all("datasets", "finesweep.worker.launch")
        from finesweep.worker.launch import conclude, prepare

        sweep = self._request(arguments)
        prepared = prepare(sweep, parallel="basic_launcher" not in str(self.master.hydra.launcher._target_))
        self._launch(sweep, prepared)
        conclude(sweep, prepared)
        return sweep

    def _request(self, arguments: list[str]) -> Any:
        """Makes a `SweepRequest` of the arguments. Raises: ConfigError."""
        from finesweep.study.encode import encode
        from finesweep.study.request import SweepRequest
        from hydra_plugins.finesweep._arguments import processes, split, stand_ins
        from hydra_plugins.finesweep._dimensions import Dimensions
        from hydra_plugins.finesweep._models import model_configs

        sweep_config = OmegaConf.to_object(self.sweep_node)
        assert isinstance(sweep_config, SweepConfig)
        check_sweep(sweep_config)
        here = Path.cwd()  # jobs may have another working folder
        sweep_config.study.storage = absolute_url(sweep_config.study.storage, here)
        parser = OverridesParser.create(config_loader=self.loader)
        given = parser.parse_overrides(arguments)
        fixed, searched = split(given, self.master.hydra.runtime.choices)
        fixed = [*fixed, *processes(sweep_config, fixed)]
        name = sweep_config.study.name = self._name_study(fixed)
        # One study, one folder; and what the trials share must be said to every job that Hydra composes anew.
        fixed = [*fixed, f"hydra.sweeper.study.name={encode(name)}"]
        base = self._compose([*stand_ins(parser, sweep_config.params, searched, self.master), *fixed])
        config = parse_config(base)
        config.tracking = absolute_tracking(config.tracking, here)
        named = {override.key_or_group for override in given}
        space = Dimensions(self.loader, base, fixed, self._compose).read(sweep_config, searched, named)
        models = model_configs(space, fixed, self._compose)
        folder = str(here / str(base.hydra.sweep.dir))
        return SweepRequest(config, sweep_config, space, fixed, folder, models)

    def _name_study(self, fixed: list[str]) -> str:
        """Gives `study.name`, or the sweep's name with the config groups that the command line chose."""
        if self.sweep_node.study.name:
            return str(self.sweep_node.study.name)
        choices = self.master.hydra.runtime.choices
        overridden = {text.partition("=")[0] for text in fixed}
        chosen = [str(choices[group]) for group in NAMING if group in overridden]
        return "-".join([str(choices.get("sweep", "sweep")), *chosen])

    def _compose(self, overrides: list[str]) -> DictConfig:
        config = self.loader.load_sweep_config(self.master, overrides)
        OmegaConf.resolve(config.hydra.sweep)
        return config

    def _launch(self, sweep: Any, prepared: Any) -> None:
        from finesweep.monitor.progress import watching
        from finesweep.study.signals import this_command
        from finesweep.worker.worker import Worker

        worker = Worker(
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
            this_command(),
        )
        launcher = self._launcher(worker, sweep.folder, prepared.workers)
        jobs = [self._job(prepared.overrides, index) for index in range(prepared.workers)]
        with prepared.closing(), watching(sweep, prepared):
            if not prepared.nothing_to_do:
                for job in self._survive(launcher, jobs, prepared):
                    if job.status is JobStatus.FAILED:  # `return_value` would print a line of its own
                        raise job._return_value

    @staticmethod
    def _survive(launcher: Launcher, jobs: list[list[str]], prepared: Any) -> Sequence[JobReturn]:
        """Starts the workers again when a launcher gives up all of them because one was killed."""
        from finesweep.study.signals import stop

        for _ in range(MAX_RESTARTS):
            try:
                return launcher.launch(jobs, initial_job_idx=0)
            except BrokenProcessPool as error:
                if stop.requested:
                    raise KeyboardInterrupt from error
                prepared.recover()
                print(f"a worker died ({type(error).__name__}); starting the workers again", file=sys.stderr)
        raise SweepFailed(f"workers died {MAX_RESTARTS} times; is there memory for hydra.sweeper.workers?")

    def _launcher(self, worker: TaskFunction, folder: str, workers: int) -> Launcher:
        from hydra_plugins.finesweep._references import without_secrets

        for config in (self.master, HydraConfig.instance().cfg):  # launchers write both into files
            if isinstance(config, DictConfig):
                without_secrets(config)
        with read_write(self.master), open_dict(self.master):
            self.master.hydra.sweep.dir = folder
            if "n_jobs" in self.master.hydra.launcher:
                self.master.hydra.launcher.n_jobs = workers
        return Plugins.instance().instantiate_launcher(
            hydra_context=self.context, task_function=worker, config=self.master
        )

    @staticmethod
    def _job(overrides: list[str], index: int) -> list[str]:
        """Gives the overrides of a worker's Hydra job: its folder, and a log file instead of the terminal."""
        name = f"worker-{os.getpid()}-{index}"
        return [*overrides, f"hydra.sweep.subdir={name}", "hydra.job_logging.root.handlers=[file]"]
