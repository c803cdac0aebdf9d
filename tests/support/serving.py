"""Real servers on loopback, for the tests that need one."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from processes import Process


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def await_health(url: str, server: Process) -> None:
    """Until MLflow answers."""
    deadline = time.monotonic() + 60
    while True:
        try:
            urllib.request.urlopen(f"{url}/health", timeout=2).read()
            return
        except OSError:
            assert server.poll() is None and time.monotonic() < deadline, "the server never answered"
            time.sleep(0.5)


@contextmanager
def mlflow_server(folder: Path) -> Iterator[str]:
    """Its `host:port`. Store and artifacts lie in `folder`; it takes any user and password."""
    folder.mkdir()
    port = free_port()
    with mlflow_process(folder, port):
        yield f"127.0.0.1:{port}"


@contextmanager
def mlflow_process(folder: Path, port: int) -> Iterator[Process]:
    """The server itself, the leader of a process group of its own."""
    address = f"127.0.0.1:{port}"
    store = ["--backend-store-uri", "sqlite:///mlflow.db", "--artifacts-destination", "artifacts"]
    where = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    server = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", *store, *where],
        cwd=folder,
        env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    try:
        await_health(f"http://{address}", server)
        yield server
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
