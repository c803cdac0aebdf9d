"""Real servers on loopback, for the tests that need one."""

import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from processes import Process

_given: set[int] = set()


def free_port() -> int:
    """Returns a port that the system gives no connection: it stays free while its server is away."""
    draw = random.SystemRandom()  # trainings seed the other one
    while True:
        port = draw.randrange(20_000, 32_000)  # Linux gives connections those from 32768 on
        with socket.socket() as probe, suppress(OSError):
            if port not in _given:
                probe.bind(("127.0.0.1", port))
                _given.add(port)
                return port


def await_health(url: str, server: Process) -> None:
    """Until MLflow answers."""
    deadline = time.monotonic() + 180
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
        with suppress(ProcessLookupError):  # it has ended by itself
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


class RestartingMlflow:
    """A server that a test may kill and start again, at the same address and with the same store."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder, self.port, self._running = folder, free_port(), ExitStack()
        self.url = f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self._running.enter_context(mlflow_process(self.folder, self.port))

    def stop(self) -> None:
        self._running.close()

    def __enter__(self) -> "RestartingMlflow":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def program(name: str) -> str | None:
    """On the PATH, or where Debian puts it."""
    debian = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return shutil.which(name) or (str(debian[-1]) if debian else None)


@dataclass
class PostgresServer:
    """A PostgreSQL server that a test may stop and start again."""

    folder: Path
    port: int
    user: dict[str, str]
    host: str = "127.0.0.1"
    settings: str = ""  # options of the server, `-c NAME=VALUE`

    @staticmethod
    def is_installed() -> bool:
        return program("initdb") is not None and program("pg_ctl") is not None

    @property
    def url(self) -> str:
        return f"postgresql://sweeper@{self.host}:{self.port}/postgres"

    @property
    def pid(self) -> int:
        """Of the process that starts all others of the server."""
        return int((self.folder / "data/postmaster.pid").read_text().split()[0])

    def initialize(self) -> None:
        self._run(str(program("initdb")), "-D", f"{self.folder}/data", "-U", "sweeper", "-A", "trust")
        with (self.folder / "data/pg_hba.conf").open("a") as rules:  # who may come, and without a password
            rules.write(f"host all all {self.host}/24 trust\n")

    def start(self) -> None:
        options = (
            f"-p {self.port} -k {self.folder} -c listen_addresses={self.host} -c fsync=off {self.settings}"
        )
        self._control("-w", "-l", f"{self.folder}/log", "-o", options, "start")

    def stop(self) -> None:
        self._control("-m", "fast", "stop")

    def _control(self, *arguments: str) -> None:
        self._run(str(program("pg_ctl")), "-D", f"{self.folder}/data", *arguments)

    def _run(self, *command: str) -> None:
        subprocess.run(command, check=True, capture_output=True, cwd=self.folder, timeout=60, **self.user)  # type: ignore[call-overload]


@contextmanager
def postgres_server(settings: str = "", host: str = "127.0.0.1") -> Iterator[PostgresServer]:
    """A server of its own, in a new folder. host: the address of this machine that it listens on."""
    folder = Path("/tmp") / f"finesweep-postgres-{os.getpid()}"  # short: a socket's path holds 107 characters
    folder.mkdir(mode=0o700)
    user = {}
    if os.geteuid() == 0:  # the server refuses to run as root
        name = "postgres" if "postgres" in {entry.pw_name for entry in pwd.getpwall()} else "nobody"
        shutil.chown(folder, name)
        user = {"user": name}
    server = PostgresServer(folder, free_port(), user, host, settings)
    try:
        server.initialize()
        server.start()
        yield server
    finally:
        with suppress(subprocess.CalledProcessError):
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)
