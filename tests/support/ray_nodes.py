"""A Ray cluster whose nodes are processes of this machine, on loopback.

python tests/support/ray_nodes.py NODES CPUS    runs one until its stdin is closed
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import psutil

# The second makes Ray listen on loopback alone: it is meant for systems without clusters.
ENVIRON = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}


@dataclass
class RayNodes:
    """A running cluster. Its drivers belong to the first node, which has no CPU for workers."""

    address: str
    raylets: dict[int, int]  # node -> pid; of the nodes for workers that are alive

    @staticmethod
    def is_installed() -> bool:
        return find_spec("ray") is not None

    @property
    def environ(self) -> dict[str, str]:
        return ENVIRON | {"RAY_ADDRESS": self.address}

    def processes(self, node: int) -> list[psutil.Process]:
        raylet = psutil.Process(self.raylets[node])
        return [raylet, *raylet.children(recursive=True)]

    def kill_node(self, node: int) -> None:
        """Kills all processes of a node, as when its machine is gone."""
        processes = self.processes(node)
        del self.raylets[node]
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()


@contextmanager
def ray_nodes(nodes: int, cpus: int) -> Iterator[RayNodes]:
    """So many nodes for workers, with so many CPUs each."""
    folder = Path("/tmp") / f"finesweep-ray-{os.getpid()}"  # short: a socket's path holds 107 characters
    folder.mkdir(mode=0o700)
    process = subprocess.Popen(
        [sys.executable, __file__, str(nodes), str(cpus)],
        env=os.environ | ENVIRON | {"RAY_TMPDIR": str(folder)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None and process.stdin is not None
    try:
        address, *pids = json.loads(process.stdout.readline())
        yield RayNodes(address, dict(enumerate(pids)))
    finally:
        process.stdin.close()
        process.wait(60)
        process.stdout.close()
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    from ray.cluster_utils import Cluster

    nodes, cpus = map(int, sys.argv[1:])
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    raylets = [cluster.add_node(num_cpus=cpus) for _ in range(nodes)]
    pids = [node.all_processes["raylet"][0].process.pid for node in raylets]
    print(json.dumps([cluster.address, *pids]), flush=True)
    sys.stdin.read()
    cluster.shutdown()


if __name__ == "__main__":
    main()
