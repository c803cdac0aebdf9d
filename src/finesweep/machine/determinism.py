"""Environment variables that decide how kernels add up. They must be set before torch computes."""

import os
from collections.abc import Mapping

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")
CUBLAS = ":4096:8"  # finesweep's default workspace; a person who sets the variable chooses another value
GPU_VARIABLES = ("CUBLAS_WORKSPACE_CONFIG", "NVIDIA_TF32_OVERRIDE", "NCCL_ALGO", "NCCL_PROTO")
# Variables that choose the kernels, and the order in which they add up. Each run records them.
VARIABLES = ("MKL_ENABLE_INSTRUCTIONS", "MKL_CBWR", "MKL_DYNAMIC", *GPU_VARIABLES)


def fix_cublas_workspace() -> None:
    """Gives cuBLAS a workspace of fixed size, so that it adds up in a fixed order, unless one is set.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.use_deterministic_algorithms.html
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", CUBLAS)


def set_threads(count: int) -> None:
    """Sets the thread count of every numerical library, in its own environment variable."""
    os.environ.update(dict.fromkeys(THREADS, str(count)))


def restore_variables(recorded: Mapping[str, str]) -> None:
    """Sets a recorded run's variables, except those that a person has set: `diff` names them."""
    for name, value in recorded.items():
        if name in VARIABLES and os.environ.get(name) in (None, CUBLAS):
            os.environ[name] = value
