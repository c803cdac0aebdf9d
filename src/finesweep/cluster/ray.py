"""Connects to a Ray cluster, and compares its nodes with what a worker takes of one."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ray

from finesweep.errors import ConfigError, first_line
from finesweep.io.terminal import show

NAMESPACE = "finesweep"
QUIET: dict[str, Any] = {"namespace": NAMESPACE, "log_to_driver": False, "logging_level": "ERROR"}
# A cluster for one command, with the least shared memory, which workers do not use.
ALONE: dict[str, Any] = {
    "address": "local",
    "include_dashboard": False,
    "object_store_memory": 100 * 2**20,
}


@dataclass(frozen=True)
class Share:
    """What each worker takes of its node."""

    cpus: float
    gpus: float
    resources: dict[str, float]  # of the cluster's own names

    def __str__(self) -> str:
        return ", ".join(f"{name} {amount:g}" for name, amount in self._all().items())

    def fits(self, node: dict[str, float]) -> bool:
        return all(node.get(name, 0.0) >= amount for name, amount in self._all().items())

    def _all(self) -> dict[str, float]:
        return {"CPU": self.cpus, **({"GPU": self.gpus} if self.gpus else {}), **self.resources}


def connect(address: str | None) -> None:
    """Connects this process to a cluster, unless it is. Without an address it starts one, which ends with it.

    Raises: ConfigError.
    """
    if ray.is_initialized():
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    with _own_signals():
        if address is None:
            ray.init(**ALONE, **QUIET)
            return
        try:
            ray.init(address=address, **QUIET)
        except (ConnectionError, RuntimeError, ValueError) as error:
            reason = first_line(error).rstrip(".")
            raise ConfigError(
                f"hydra.launcher.address: cannot join the Ray cluster at {address!r}: {reason}; "
                "legal: HOST:PORT of its head node, or auto for the cluster of this host"
            ) from error


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keeps this process's handler of SIGTERM, which Ray replaces."""
    is_main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if is_main:
            signal.signal(signal.SIGTERM, before)


def nodes() -> list[dict[str, Any]]:
    """Returns Ray's descriptions of the nodes that are alive."""
    return [node for node in ray.nodes() if node["Alive"]]


def has_gpus() -> bool:
    return any(node["Resources"].get("GPU") for node in nodes())


def check_room(share: Share) -> None:
    """Tells a person if no node is as large as a worker's share. A cluster that grows may add one."""
    if not any(share.fits(node["Resources"]) for node in nodes()):
        sizes = "; ".join(sorted({_size(node["Resources"]) for node in nodes()}))
        show(
            f"no node of the Ray cluster has {share}, which each worker takes; there are: {sizes}", sys.stderr
        )


def _size(resources: dict[str, float]) -> str:
    return (
        ", ".join(f"{name} {resources[name]:g}" for name in ("CPU", "GPU") if name in resources) or "no CPU"
    )
