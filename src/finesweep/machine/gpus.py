"""Counts GPUs and checks a run's device: without torch, where torch's own files say that it knows none."""

import os
import runpy
import subprocess
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

    return torch.cuda.device_count()  # `is_available` would open CUDA, which reads CUDA_VISIBLE_DEVICES once


def check(config: TrainerConfig) -> None:
    """Raises: ConfigError for a device or a precision that this machine does not have."""
    gpus = count(config)
    if config.device.startswith("cuda") and not gpus:
        raise ConfigError.at("trainer.device", config.device, "auto or cpu; torch finds no CUDA device here")
    check_precision(config.precision, use_cpu=not gpus)


def check_processes(config: TrainerConfig, count: int) -> None:
    """Raises: ConfigError for more processes than GPUs. count: of the GPUs, 0 on a CPU."""
    processes = config.num_processes
    if processes == 1 or not count:
        return
    if ":" in config.device:
        legal = f"auto, cpu or cuda with {processes} processes, each of which has a GPU of its own"
        raise ConfigError.at("trainer.device", config.device, legal)
    if processes > count:
        legal = f"1 to {count}, the GPUs that torch finds here; or trainer.device=cpu"
        raise ConfigError.at("trainer.num_processes", processes, legal)


def allotted(count: int) -> dict[str, str]:
    """Returns the GPUs of this process: CUDA's name -> the name that all processes of the machine know.

    A cluster names the allotted ones in CUDA_VISIBLE_DEVICES; without it, they have numbers. Number 0 can be
    another GPU in each job of a cluster, so UUIDs are the names for locks, where the driver tells them.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(count)))
    uuids = _uuids()
    return {name: _uuid_of(name, uuids) for name in visible.split(",")}


def _uuid_of(name: str, uuids: dict[str, str]) -> str:
    """Looks up a number, or the beginning of a UUID, as CUDA_VISIBLE_DEVICES may have it."""
    whole = (uuid for uuid in uuids.values() if name.startswith("GPU-") and uuid.startswith(name))
    return uuids.get(name) or next(whole, name)


@lru_cache
def _uuids() -> dict[str, str]:
    """Asks the driver for the UUID of each GPU, by number; CUDA may number different models differently.

    Each number stands for one UUID nevertheless, in every process, which is all that locks need.
    """
    command = ["nvidia-smi", "--query-gpu=index,uuid", "--format=csv,noheader"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return {}
    pairs = (line.split(", ") for line in answer.splitlines() if line.count(", ") == 1)
    return {number.strip(): uuid.strip() for number, uuid in pairs}


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
