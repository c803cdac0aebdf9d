"""The device, thread count and precision of a run. They are set before torch computes."""

import os
from typing import Any

import joblib
import torch

from finesweep.config.run import Precision, TrainerConfig
from finesweep.errors import ConfigError
from finesweep.machine import determinism, gpus
from finesweep.machine.placement import Placement


def prepare(config: TrainerConfig) -> None:
    """Sets this process's thread count and determinism, and hides all GPUs but the run's own.

    Raises: ConfigError for a device or a precision that this machine does not have, and for more processes
    than it has GPUs, or than are free.
    """
    gpus.check(config)
    present = gpus.count(config)  # 0 on a CPU
    gpus.check_processes(config, present)
    if present:
        if config.num_processes == 1:
            _choose_gpu(config.device)
        else:
            _claim_gpus(config.num_processes)
        _set_determinism(config.deterministic)
    torch.set_num_threads(config.threads or _threads(config.num_processes))


def _threads(processes: int) -> int:
    """Returns how many threads each of a run's processes has by default: its share of the cores."""
    return torch.get_num_threads() if processes == 1 else max(1, int(joblib.cpu_count()) // processes)


def _claim_gpus(count: int) -> None:
    """Claims the GPUs of a run's processes, unless its worker has. Raises: ConfigError for too few."""
    present = torch.cuda.device_count()
    place = Placement(gpus=present, processes=count)
    if not place.has_gpus and not place.claim_gpus():
        legal = f"fewer: other processes of finesweep hold some of the {present} GPUs; or wait for their end"
        raise ConfigError.at("trainer.num_processes", count, legal)


def join_group(config: TrainerConfig, rank: int, threads: int) -> str:
    """Gives this process its device as one of a run's processes. Returns torch's backend for the group."""
    determinism.set_threads(threads)  # accelerate reads the variable
    torch.set_num_threads(threads)
    if config.device == "cpu" or not torch.cuda.is_available():
        return "gloo"
    torch.cuda.set_device(rank)
    _set_determinism(config.deterministic)
    return "cpu:gloo,cuda:nccl"  # what the processes agree on does not wait for the GPUs


def _set_determinism(wanted: bool) -> None:
    """Chooses deterministic kernels; an operation that has none warns in the log.

    cuBLAS needs its environment variable besides: `determinism.fix_cublas_workspace`.
    """
    torch.use_deterministic_algorithms(wanted, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # slow
    # The backward passes of these kernels add up in any order. Without them attention is matrix products.
    torch.backends.cuda.enable_mem_efficient_sdp(not wanted)
    torch.backends.cuda.enable_cudnn_sdp(not wanted)
    torch.backends.cudnn.benchmark = False  # it times kernels and takes the fastest, which varies


_chosen: set[str] = set()  # devices of earlier runs in this process, which have hidden the other GPUs


def _choose_gpu(device: str) -> None:
    if device in _chosen:
        return
    index = int(device.partition(":")[2] or 0)
    if index >= torch.cuda.device_count():
        raise ConfigError.at("trainer.device", device, f"cuda:0 to cuda:{torch.cuda.device_count() - 1}")
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    if torch.cuda.device_count() > 1 and not torch.cuda.is_initialized():
        os.environ["CUDA_VISIBLE_DEVICES"] = visible[index] if visible != [""] else str(index)
    _chosen.add(device)


def arguments(config: TrainerConfig) -> dict[str, Any]:
    """Returns the TrainingArguments that depend on the device. Raises: ConfigError."""
    use_cpu = config.device == "cpu" or not torch.cuda.is_available()
    precision = resolve_precision(config.precision, use_cpu)
    return {
        "use_cpu": use_cpu,
        "bf16": precision is Precision.bf16,
        "fp16": precision is Precision.fp16,
        "dataloader_pin_memory": not use_cpu,
    }


def resolve_precision(precision: Precision, use_cpu: bool) -> Precision:
    """Returns the precision; for `auto`, bf16 where the device computes it fast, else fp16 or fp32.

    A CPU without AMX is slow at bf16: a step took 100 ms to 1.6 s with AVX2.
    Raises: ConfigError for fp16 on a CPU.
    """
    gpus.check_precision(precision, use_cpu)
    if precision is not Precision.auto:
        return precision
    if use_cpu:
        return Precision.bf16 if torch.cpu._is_amx_tile_supported() else Precision.fp32
    return Precision.bf16 if torch.cuda.get_device_capability() >= (8, 0) else Precision.fp16
