"""`hydra/launcher=finesweep`: runs each job in a process of its own, forked from one that is warm."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, configure_log, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict


@dataclass
class LauncherConfig:
    _target_: str = "hydra_plugins.finesweep.launcher.FinesweepLauncher"


ConfigStore.instance().store(
    group="hydra/launcher", name="finesweep", node=LauncherConfig, provider="finesweep"
)


class FinesweepLauncher(Launcher):
    """Starts all jobs that it gets at once: the sweeper makes one for each worker."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.context, self.task_function, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Raises: BrokenProcessPool if a job's process was killed; those of the other jobs are ended."""
        from finesweep.machine.fork_server import run_each

        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        state = Singleton.get_state()
        return run_each(
            [
                partial(_run, self.context, self.task_function, self.config, list(overrides), number, state)
                for number, overrides in enumerate(job_overrides, start=initial_job_idx)
            ]
        )


def _run(
    context: HydraContext,
    task_function: TaskFunction,
    master: DictConfig,
    overrides: list[str],
    number: int,
    state: dict[Any, Any],
) -> JobReturn:
    setup_globals()
    Singleton.set_state(state)
    config = context.config_loader.load_sweep_config(master, overrides)
    with open_dict(config):
        config.hydra.job.id = f"{config.hydra.job.name}_{number}"
        config.hydra.job.num = number
    HydraConfig.instance().set_config(config)
    return run_job(
        hydra_context=context,
        config=config,
        task_function=task_function,
        job_dir_key="hydra.sweep.dir",
        job_subdir_key="hydra.sweep.subdir",
    )
