"""The config of `hydra/launcher=slurm`: what each worker gets from SLURM, and how its job is started."""

from dataclasses import dataclass
from typing import Any

from finesweep.config.rules import COUNT, WHOLE, Rule, explained, filled_in, ruled
from finesweep.errors import ConfigError

PARTITION = filled_in("the name of a partition; sinfo lists them")
OWN = ("array", "chdir", "error", "export", "job-name", "open-mode", "output", "requeue", "signal", "time")
OPTIONS = Rule(
    lambda options: all(name[:1].isalpha() and name.replace("_", "-") not in OWN for name in options),
    f"sbatch's options by their long names without dashes, but for {', '.join(OWN)}, which finesweep sets",
)


@dataclass
class SlurmConfig:
    """Keys that have an option of sbatch have its name; null leaves the choice to the cluster."""

    _target_: str = "hydra_plugins.finesweep.slurm.SlurmLauncher"
    partition: str | None = ruled(None, PARTITION, "where the workers queue; null: the cluster's default")
    account: str | None = explained(None, "whose share of the cluster is used")
    qos: str | None = explained(None, "quality of service")
    time_limit_min: int | None = ruled(
        None, COUNT,
        "minutes that a worker may run at a time (sbatch's time); while work is left, it is started again",
    )  # fmt: skip
    cpus_per_task: int | None = ruled(None, COUNT, "CPU cores of each worker; null: trainer.threads, or 1")
    mem: str | None = explained(None, "memory of each worker, such as 8G")
    gres: str | None = explained(None, "GPUs of each worker, such as gpu:1 or gpu:a100:1")
    array_parallelism: int | None = ruled(None, COUNT, "how many workers run at a time; null: all")
    signal_lead_s: int = ruled(
        120, WHOLE, "seconds before the time limit at which a worker is told to save and to hand its trial on"
    )
    setup: list[str] = explained([], "lines of shell before a worker starts, such as 'module load cuda'")
    env_file: str | None = explained(
        None,
        "a file of mode 600 with lines NAME='VALUE', which bash reads: passwords and tokens for the workers",
    )
    options: dict[str, Any] = ruled(
        {}, OPTIONS, "more of sbatch's options: {constraint: a100, exclusive: true}"
    )


def check_times(config: SlurmConfig) -> None:
    """Raises: ConfigError if a worker would be told to save before it could begin."""
    limit_s = None if config.time_limit_min is None else 60 * config.time_limit_min
    if limit_s is not None and config.signal_lead_s >= limit_s:
        raise ConfigError.at(
            "hydra.launcher.signal_lead_s", config.signal_lead_s,
            f"less than the {limit_s} s of hydra.launcher.time_limit_min",
        )  # fmt: skip
