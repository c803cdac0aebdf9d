"""Counts GPUs and checks a run's device: without torch, where torch's own files say that it knows none."""

import runpy
import sys
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from finesweep.config.run import Precision, TrainerConfig
from finesweep.errors import ConfigError


def needs_torch(config: TrainerConfig) -> bool:
    """Tells whether `count` and `check` import torch, which takes seconds."""
    return config.device != "cpu" and not _is_built_for_cpus()


def count(config: TrainerConfig) -> int:
    """Returns the number of GPUs that a run of this config could use."""
    if not needs_torch(config):
        return 0
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def check(config: TrainerConfig) -> None:
    """Raises: ConfigError for a device or a precision that this machine does not have."""
    gpus = count(config)
    if config.device.startswith("cuda") and not gpus:
        raise ConfigError.at("trainer.device", config.device, "auto or cpu; torch finds no CUDA device here")
    check_precision(config.precision, use_cpu=not gpus)


def check_precision(precision: Precision, use_cpu: bool) -> None:
    """Raises: ConfigError for fp16 on a CPU."""
    if precision is Precision.fp16 and use_cpu:
        raise ConfigError.at("trainer.precision", precision.value, "auto, fp32 or bf16 on a CPU")


@lru_cache
def _is_built_for_cpus() -> bool:
    """Tells whether torch is built without CUDA and ROCm. What it says itself counts, once it is imported."""
    if "torch" in sys.modules:
        return False
    spec = find_spec("torch")
    file = Path(spec.origin).with_name("version.py") if spec and spec.origin else Path()
    if not file.is_file():
        return False
    version = runpy.run_path(str(file))
    return "cuda" in version and version["cuda"] is None and version.get("hip") is None
