"""The config of `hydra/launcher=ray`: which cluster, and what each worker takes of one of its nodes."""

from dataclasses import dataclass
from typing import Any

from finesweep.config.rules import NOT_NEGATIVE, Rule, explained, ruled

ADDRESS = Rule(
    lambda address: "://" not in address,
    "auto, or HOST:PORT of the head node; the command runs on a node of the cluster",
)


@dataclass
class RayConfig:
    """Where the workers start, and with what."""

    _target_: str = "hydra_plugins.finesweep.ray.RayLauncher"
    address: str | None = ruled(
        None, ADDRESS,
        "the cluster; auto: the one of this host; null: RAY_ADDRESS, else a new one, for this command alone",
    )  # fmt: skip
    cpus: float | None = ruled(
        None,
        NOT_NEGATIVE,
        "CPU cores of each worker; null: trainer.threads, or 1, for each process of a trial",
    )
    gpus: float | None = ruled(
        None,
        NOT_NEGATIVE,
        "GPUs of each worker; null: gpus_per_trial, or 1 / workers_per_gpu, if the cluster has some",
    )
    resources: dict[str, Any] = explained({}, "more that each worker takes, by the cluster's own names")
    runtime_env: dict[str, Any] = explained(
        {}, "Ray's runtime_env of each worker: working_dir, env_vars (no passwords) and others"
    )
