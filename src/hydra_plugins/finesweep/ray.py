"""`hydra/launcher=ray`: the workers are commands that detached actors run on the nodes of a Ray cluster."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from finesweep.config.places import SQLITE
from finesweep.config.ray import ADDRESS, RayConfig
from finesweep.config.rules import check_rules
from finesweep.errors import ConfigError
from finesweep.io.redaction import is_secret
from hydra_plugins.finesweep._engine import EngineLauncher
from hydra_plugins.finesweep._schema import open_schema

if TYPE_CHECKING:
    from finesweep.cluster.ray import Share
    from finesweep.study.request import SweepRequest

SCHEMA = open_schema(RayConfig, "resources", "runtime_env")
ConfigStore.instance().store(group="hydra/launcher", name="ray", node=SCHEMA, provider="finesweep")


class RayLauncher(EngineLauncher):
    """Starts an actor for each worker; the actors outlive this command."""

    name = "ray"

    def __init__(self, **given: Any) -> None:
        config = OmegaConf.to_object(OmegaConf.merge(SCHEMA, given))
        assert isinstance(config, RayConfig)
        self.ray = config

    def hosts(self) -> Mapping[str, str]:
        """Checks the config, and returns the hosts of the cluster, which this process joins."""
        check_rules(self.ray, "hydra.launcher.")  # not at once: Hydra would wrap the error
        for name, value in self.ray.runtime_env.get("env_vars", {}).items():
            if is_secret(name, str(value)):
                raise ConfigError(
                    f"hydra.launcher.runtime_env.env_vars.{name}: Ray logs these variables; set a "
                    "password or a token on the nodes, before `ray start` or by the cluster's own secrets"
                )
        nodes = self._cluster().nodes()
        return {str(node["NodeManagerHostname"]): str(node["NodeManagerAddress"]) for node in nodes}

    def check(self, sweep: "SweepRequest", workers: int) -> None:
        if "working_dir" in self.ray.runtime_env:
            _check_not_copied(sweep)
        self.share = self._share(sweep)
        self._cluster().check_room(self.share)

    def start_workers(self, command: Sequence[str], workers: int, folder: Path) -> None:
        from finesweep.cluster.ray_crew import run_workers
        from finesweep.study.signals import stop

        log, environment = folder / self.name, self.ray.runtime_env
        run_workers(command, workers, log, self.share, environment, lambda: stop.requested)

    def _share(self, sweep: "SweepRequest") -> "Share":
        """Computes what each worker takes of its node, where the config leaves it open."""
        from finesweep.cluster.ray import Share

        trainer, gpus, cpus = sweep.run.trainer, self.ray.gpus, self.ray.cpus
        if gpus is None:
            computes_there = trainer.device != "cpu" and self._cluster().has_gpus()
            gpus = trainer.num_processes / sweep.config.workers_per_gpu if computes_there else 0.0
        if cpus is None:
            cpus = (trainer.threads or 1) * trainer.num_processes
        return Share(cpus, gpus, self.ray.resources)

    def _cluster(self) -> ModuleType:
        """Imports what talks to Ray, and connects. Raises: ConfigError."""
        address = self.ray.address or os.environ.get("RAY_ADDRESS")
        if address and not ADDRESS.allows(address):
            raise ConfigError.at("RAY_ADDRESS", address, ADDRESS.legal)
        if address is None:  # a cluster of this process alone; Ray reads the variable when it is imported
            os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # so it listens on loopback
        try:
            from finesweep.cluster import ray
        except ImportError as error:
            raise ConfigError(
                f"hydra/launcher=ray: the package {error.name} is not installed; legal: another "
                "launcher, or finesweep with this extra: pip install '.[ray]' in a checkout, or the "
                "wheel's name with [ray] behind it"
            ) from error
        ray.connect(address)
        return ray


def _check_not_copied(sweep: "SweepRequest") -> None:
    """Raises: ConfigError for a place in the working folder, of which each node gets a copy of its own."""
    here, tracking = Path.cwd(), sweep.run.tracking
    places = {
        "hydra.sweep.dir": sweep.folder,
        "cache_dir": sweep.run.cache_dir,
        "tracking.spool": tracking.spool,
    }
    if not tracking.is_server:
        places["tracking.artifacts"] = tracking.artifacts
    if tracking.uri.startswith(SQLITE):
        places["tracking.uri"] = tracking.uri.removeprefix(SQLITE)
    for key, place in places.items():
        if (here / place).is_relative_to(here):
            raise ConfigError(
                f"{key}: got {place!r}, in the working folder, which runtime_env.working_dir copies to each "
                "node; legal: the absolute path of a folder that all nodes share, elsewhere"
            )
