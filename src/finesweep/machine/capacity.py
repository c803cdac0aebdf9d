"""How many workers a machine runs at a time, and what they share: its GPUs, or its cores and memory."""

import joblib
import psutil

from finesweep.config.run import TrainerConfig
from finesweep.config.study import SweepConfig
from finesweep.errors import ConfigError
from finesweep.machine.gpus import check, count
from finesweep.machine.placement import Placement

# Weights, gradients, AdamW's moments and activations of a base-sized BERT. Smaller models need less.
GB_PER_WORKER = 3


def plan_workers(trainer: TrainerConfig, config: SweepConfig, parallel: bool) -> tuple[int, Placement]:
    """Returns how many workers to start, and the placement that they share.

    parallel: whether the Hydra launcher can run several jobs at a time.
    Raises: ConfigError for a device or a precision that is not there, for several workers without a parallel
    launcher, and for one GPU's number where there are several.
    """
    check(trainer)
    gpus = count(trainer)
    if gpus > 1 and ":" in trainer.device:
        raise ConfigError.at("trainer.device", trainer.device, "auto, cpu, cuda: workers share the GPUs")
    placement = Placement(trainer.threads or 1, gpus, pin=parallel)
    if config.workers == "auto":
        return (_capacity(placement, config.workers_per_gpu) if parallel else 1), placement
    if config.workers > 1 and not parallel:
        raise ConfigError.at(
            "hydra.sweeper.workers",
            config.workers,
            "1 with hydra/launcher=basic; hydra/launcher=finesweep runs more",
        )
    return int(config.workers), placement


def plan_elsewhere(config: SweepConfig) -> tuple[int, Placement]:
    """Returns how many workers an engine starts; each of them places itself on its host.

    Raises: ConfigError where the config leaves it to this host.
    """
    if config.workers == "auto":
        raise ConfigError.at("hydra.sweeper.workers", "auto", "a whole number: they start on other hosts")
    return int(config.workers), Placement()


def _capacity(placement: Placement, workers_per_gpu: int) -> int:
    """`workers_per_gpu` on each GPU; on a CPU, as many as the cores and the free memory allow.

    Each CPU worker has one thread by default: two one-thread workers do more than one with two threads, and
    results do not depend on the number of workers.
    """
    if placement.gpus:
        return placement.gpus * workers_per_gpu
    by_memory = int(psutil.virtual_memory().available / 2**30 / GB_PER_WORKER)
    return max(1, min(int(joblib.cpu_count()) // placement.threads, by_memory))
