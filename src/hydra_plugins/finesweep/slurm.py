"""`hydra/launcher=slurm`: the workers are a job array of SLURM, which this command only waits for."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from finesweep.config.rules import check_rules
from finesweep.config.slurm import SlurmConfig, check_times
from finesweep.errors import ConfigError
from finesweep.io.job_secrets import VARIABLE_PREFIX
from finesweep.io.redaction import holds_secret
from hydra_plugins.finesweep._engine import EngineLauncher
from hydra_plugins.finesweep._schema import open_schema

if TYPE_CHECKING:
    from finesweep.cluster.batch import Batch
    from finesweep.study.request import SweepRequest


SCHEMA = open_schema(SlurmConfig, "options")
ConfigStore.instance().store(group="hydra/launcher", name="slurm", node=SCHEMA, provider="finesweep")


class SlurmLauncher(EngineLauncher):
    """Submits one job array, in which each task is a worker; the array outlives this command."""

    name = "slurm"

    def __init__(self, **given: Any) -> None:
        config = OmegaConf.to_object(OmegaConf.merge(SCHEMA, given))
        assert isinstance(config, SlurmConfig)
        self.slurm = config

    def hosts(self) -> Mapping[str, str]:
        """Checks the config, and returns the hosts of the partition."""
        from finesweep.cluster import slurm

        check_rules(self.slurm, "hydra.launcher.")  # not at once: Hydra would wrap the error
        check_times(self.slurm)
        if any(holds_secret(line, settings=True) for line in self.slurm.setup):
            raise ConfigError(
                "hydra.launcher.setup: holds a password or a token, and SLURM records these lines; write "
                "NAME='VALUE' into a file of mode 600, and name it in hydra.launcher.env_file"
            )
        slurm.check_installed()
        return slurm.hosts(self.slurm.partition or os.environ.get("SBATCH_PARTITION"))

    def check(self, sweep: "SweepRequest", workers: int) -> None:
        from finesweep.cluster import slurm
        from finesweep.cluster.batch import check_env_file
        from finesweep.io.job_secrets import by_reference

        cpus = self.slurm.cpus_per_task or sweep.run.trainer.threads or 1
        self.slurm = replace(self.slurm, cpus_per_task=cpus)
        storage = by_reference("hydra.sweeper.study.storage", sweep.config.study.storage)
        texts = [storage, *sweep.origin.arguments, *_held_elsewhere(sweep.run.tracking.uri)]
        check_env_file(self.slurm.env_file, slurm.unsent(texts))
        slurm.check_batch(self._batch(sweep.name, ["true"], workers, Path(sweep.folder)).script())

    def start_workers(self, command: Sequence[str], workers: int, folder: Path) -> None:
        from finesweep.cluster import slurm
        from finesweep.io.terminal import show
        from finesweep.study.signals import stop

        study = command[command.index("worker") + 1]
        batch = self._batch(study, command, workers, folder / "slurm")
        script = batch.write()
        try:
            job = slurm.submit(script)
        except ConfigError as error:
            script.unlink()
            raise ConfigError(
                f"{error}; the study is made, and the same command starts its workers"
            ) from error
        for line in batch.submitted(job):
            show(line, sys.stderr)
        slurm.await_end(job, lambda: stop.requested, lambda line: show(line, sys.stderr))
        for line in batch.problems(job):
            show(line, sys.stderr)

    def _batch(self, study: str, command: Sequence[str], workers: int, folder: Path) -> "Batch":
        from finesweep.cluster.batch import Batch

        return Batch(study, command, workers, str(Path.cwd()), folder, self.slurm)


def _held_elsewhere(uri: str) -> list[str]:
    """Refers to variables that hold secrets without an argument that names them. uri: of MLflow's store.

    A config file can name one that has the address; MLflow reads two by itself.
    """
    named = [
        name for name, held in os.environ.items() if held == uri and not name.startswith(VARIABLE_PREFIX)
    ]
    return [f"${{oc.env:{name}}}" for name in (*named, "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")]
