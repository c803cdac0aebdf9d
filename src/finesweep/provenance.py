"""What a run was made with: packages, machine, code."""

import os
import platform
import subprocess
import sys
from functools import lru_cache
from importlib.metadata import distributions
from typing import Any

import torch

MAX_DIFF = 1_000_000  # characters of uncommitted changes


def environment() -> dict[str, Any]:
    """Packages with their versions, Python, machine, threads and devices of this process; JSON-ready."""
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "gpus": gpus,
        "cuda": torch.version.cuda,
        "git_commit": git("rev-parse", "HEAD"),
        "packages": _packages(),
    }


@lru_cache
def _packages() -> dict[str, str]:
    return dict(sorted((found.name, found.version) for found in distributions()))


@lru_cache
def git(*arguments: str) -> str | None:
    """What git says of the code in the working folder; None where it is no checkout, or there is no git."""
    command = ["git", *arguments]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=10, env=os.environ | {"LC_ALL": "C"}
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip()[:MAX_DIFF] if done.returncode == 0 else None
