"""Describes the machine and the packages that a run was made with."""

import os
import platform
import re
from contextlib import suppress
from functools import lru_cache
from importlib.metadata import distributions
from typing import Any

import torch

from finesweep.config.run import TrainerConfig
from finesweep.machine import device
from finesweep.machine.determinism import GPU_VARIABLES, VARIABLES
from finesweep.provenance.fields import Gpu, Machine, Onednn

# oneDNN's names of the instruction sets for which it has own float32 and bfloat16 kernels, lowest first ->
# torch's names of the same.
ONEDNN_ISAS = {
    "SSE41": "sse4_1", "AVX2": "avx2", "AVX512_CORE": "avx512_dq", "AVX512_CORE_BF16": "avx512_bf16",
    "AVX512_CORE_FP16": "avx512_fp16", "AVX512_CORE_AMX": "amx_tile",
}  # fmt: skip


def machine(config: TrainerConfig) -> Machine:
    """Records the hardware, threads and precision of this process. Call it after `device.prepare`."""
    use_cpu = bool(device.arguments(config)["use_cpu"])
    unused = GPU_VARIABLES if use_cpu else ()
    return Machine(
        python=platform.python_version(),
        platform=platform.platform(),
        cpu=_cpu_name(),
        threads=torch.get_num_threads(),
        device="cpu" if use_cpu else "cuda",
        precision=device.resolve_precision(config.precision, use_cpu).value,
        cpu_capability=torch.backends.cpu.get_cpu_capability(),
        onednn=Onednn(version=_onednn_version(), isa=onednn_isa()),
        gpu=None if use_cpu else _gpu(),
        variables={name: os.environ[name] for name in VARIABLES if name in os.environ and name not in unused},
    )


def onednn_isa() -> str | None:
    """Returns the instruction set that oneDNN uses: the CPU's highest, or less by `ONEDNN_MAX_CPU_ISA`."""
    has = _capabilities()
    available = [isa for isa, flag in ONEDNN_ISAS.items() if has.get(flag)]
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper()
    return limit if limit in available else next(reversed(available), None)


def _capabilities() -> dict[str, Any]:
    return dict(torch.cpu.get_capabilities()) if hasattr(torch.cpu, "get_capabilities") else {}


def _cpu_name() -> str:
    return str(_capabilities().get("cpu_name") or platform.processor() or platform.machine())


def _onednn_version() -> str | None:
    match = re.search(r"MKL-DNN v([\d.]+)", torch.__config__.show())
    return match.group(1) if match else None


def _gpu() -> Gpu:
    major, minor = torch.cuda.get_device_capability()
    return Gpu(
        name=torch.cuda.get_device_name(),
        compute_capability=f"{major}.{minor}",
        cuda=torch.version.cuda,
        cudnn=torch.backends.cudnn.version(),
    )


@lru_cache
def packages() -> dict[str, str]:
    """Returns the installed distributions and their versions, by name.

    If one is installed twice, the first on Python's path counts, because it is the one that is imported.
    """
    versions: dict[str, str] = {}
    for distribution in distributions():
        # An interrupted uninstall leaves a distribution without metadata; versions of Python raise different
        # errors for it.
        with suppress(Exception):
            metadata = distribution.metadata  # parsed at each access
            versions.setdefault(_name(metadata["Name"]), str(metadata["Version"]))
    return dict(sorted(versions.items()))


def _name(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()
