"""What must stand in the environment before torch starts, so that a run can be made again."""

import os
from collections.abc import Mapping

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")
# What else decides which kernels compute, and in what order they add up; recorded with each run.
CUBLAS = ":4096:8"  # our own choice; no other variable has such a value
GPU_VARIABLES = ("CUBLAS_WORKSPACE_CONFIG", "NVIDIA_TF32_OVERRIDE")
VARIABLES = ("MKL_ENABLE_INSTRUCTIONS", "MKL_CBWR", "MKL_DYNAMIC", *GPU_VARIABLES)


def deterministic_cublas() -> None:
    """cuBLAS adds up in a fixed order with a workspace of its own; read when torch makes its first handle.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.use_deterministic_algorithms.html
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", CUBLAS)


def threads(count: int) -> None:
    os.environ.update(dict.fromkeys(THREADS, str(count)))


def as_recorded(variables: Mapping[str, str]) -> None:
    """Sets what is not set: what a person has set is theirs, and is named as a difference."""
    for name, value in variables.items():
        if name in VARIABLES and os.environ.get(name) in (None, CUBLAS):
            os.environ[name] = value
