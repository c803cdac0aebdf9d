"""Where a run computes: device, threads, precision. Called before torch has done any work."""

import os
from typing import Any

import torch

from finesweep.config.run import Precision, TrainerConfig
from finesweep.errors import ConfigError


def prepare(config: TrainerConfig) -> None:
    """Sets this process's thread count and the one GPU it may use.

    Trainer would spread a run over every GPU it sees; a run here uses one, so the others are hidden first.
    Raises: ConfigError for a CUDA device that is not there.
    """
    check(config)
    if config.device != "cpu" and torch.cuda.is_available():
        _choose_gpu(config.device)
        _set_determinism(config.deterministic)
    torch.set_num_threads(config.threads or torch.get_num_threads())


def check(config: TrainerConfig) -> None:
    """Raises: ConfigError for a device or a precision that this machine does not have."""
    if config.device.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError.at("trainer.device", config.device, "auto or cpu; torch finds no CUDA device here")
    arguments(config)


def _set_determinism(wanted: bool) -> None:
    """What has no deterministic kernel warns, into the log. `pins.deterministic_cublas` is the other half."""
    torch.use_deterministic_algorithms(wanted, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # slow
    # Their backward passes add up in any order; attention with padding is plain matrix products without them.
    torch.backends.cuda.enable_mem_efficient_sdp(not wanted)
    torch.backends.cuda.enable_cudnn_sdp(not wanted)
    torch.backends.cudnn.benchmark = False  # which chooses kernels by their speed of the moment


_chosen: set[str] = set()  # by this process: after the first run, the others are hidden


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
    """The part of TrainingArguments that depends on the device."""
    use_cpu = config.device == "cpu" or not torch.cuda.is_available()
    precision = resolve_precision(config.precision, use_cpu)
    return {
        "use_cpu": use_cpu,
        "bf16": precision is Precision.bf16,
        "fp16": precision is Precision.fp16,
        "dataloader_pin_memory": not use_cpu,
    }


def resolve_precision(precision: Precision, use_cpu: bool) -> Precision:
    """`auto` as what the device is good at.

    bf16 on a CPU without AMX is ruinous: 100 ms to 1.6 s a step on AVX2.
    """
    if precision is Precision.fp16 and use_cpu:
        raise ConfigError.at("trainer.precision", precision.value, "auto, fp32 or bf16 on a CPU")
    if precision is not Precision.auto:
        return precision
    if use_cpu:
        return Precision.bf16 if torch.cpu._is_amx_tile_supported() else Precision.fp32
    return Precision.bf16 if torch.cuda.get_device_capability() >= (8, 0) else Precision.fp16
