"""How many workers a machine runs at a time, and what they share: its GPUs, or its cores and memory."""

import joblib
import psutil

from finesweep.config.run import TrainerConfig
from finesweep.config.study import PROCESSES, SweepConfig, check_sharing
from finesweep.errors import ConfigError
from finesweep.machine.gpus import check, check_processes, count
from finesweep.machine.placement import Placement

# Weights, gradients, AdamW's moments and activations of a base-sized BERT. Smaller models need less.
GB_PER_PROCESS = 3


def plan_workers(trainer: TrainerConfig, config: SweepConfig, parallel: bool) -> tuple[int, Placement]:
    """Returns how many workers to start, and the placement that they share.

    parallel: whether the Hydra launcher can run several jobs at a time.
    Raises: ConfigError for a device or a precision that is not there, for several workers without a parallel
    launcher, for one GPU's number where there are several, and for a trial's processes that have no GPUs.
    """
    check(trainer)
    gpus = count(trainer)
    if gpus > 1 and ":" in trainer.device:
        raise ConfigError.at("trainer.device", trainer.device, "auto, cpu, cuda: workers share the GPUs")
    _check_group(trainer, config, gpus)
    placement = Placement(trainer.threads or 1, gpus, parallel, trainer.num_processes, config.workers_per_gpu)
    if config.workers == "auto":
        return (_capacity(placement) if parallel else 1), placement
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


def _check_group(trainer: TrainerConfig, config: SweepConfig, gpus: int) -> None:
    """Raises: ConfigError for a trial's processes that this machine has no GPUs for."""
    key, count = "hydra.sweeper.gpus_per_trial", config.gpus_per_trial
    if not gpus and count is not None:
        cpu = f"{PROCESSES}={count} trains on the CPU, with as many processes"
        raise ConfigError.at(key, count, f"null where a trial does not train on GPUs; {cpu}")
    if count is not None and count > gpus:
        raise ConfigError.at(key, count, f"1 to {gpus}, the GPUs that torch finds here")
    check_processes(trainer, gpus)
    if gpus:
        check_sharing(config, trainer.num_processes)


def _capacity(placement: Placement) -> int:
    """As many as the GPUs have room for; on a CPU, as many as the cores and the free memory allow.

    Each CPU worker has one thread by default: two one-thread workers do more than one with two threads, and
    results do not depend on the number of workers.
    """
    if placement.gpus:
        return placement.capacity
    by_memory = int(psutil.virtual_memory().available / 2**30 / GB_PER_PROCESS / placement.processes)
    cores = placement.threads * placement.processes
    return max(1, min(int(joblib.cpu_count()) // cores, by_memory))
