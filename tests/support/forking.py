"""A server process that has imported everything once and forks `python PROGRAM ...` from there.

Importing torch, transformers and MLflow costs 8 seconds of CPU, forking a process that has them almost none.
Each fork is a real process: it has its own session, signals, environment and exit code. Nothing was computed
before it, and its workers are forked from the same state. Only the start-up of Python is not its own:
a test of start-up or imports asks for a cold process.
"""

import atexit
import fcntl
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from multiprocessing import connection, forkserver
from pathlib import Path
from typing import IO, Any

import ready_tables

PRELOADED = (
    "accelerate", "alembic", "evaluate", "rich.live", "scipy.stats", "datasets", "hydra.main",
    "cloudpickle", "joblib", "optuna.storages", "torch",
    "mlflow.store.tracking.sqlalchemy_store", "transformers", "transformers.trainer",
    "transformers.models.auto.modeling_auto", "transformers.models.bert.modeling_bert",
    "hydra_plugins.hydra_joblib_launcher.joblib_launcher", "hydra_plugins.finesweep.launcher",
    "finesweep.cli.main", "finesweep.training.run", "finesweep.worker.finish",
)  # fmt: skip
# Variables read while Python and its libraries start: a process with other values of these is not forked.
AT_START = ("PYTHON", "OMP_", "MKL_", "ATEN_", "LD_", "KMP_")


@dataclass
class Command:
    """One process to fork: what `python PROGRAM ARGUMENTS` has of a shell."""

    argv: list[str]
    cwd: str
    environ: dict[str, str]
    fds: list[int]  # the numbers that the sent descriptors shall have


class ForkedProcess:
    """A forked process; the part of `subprocess.Popen[str]` that the tests use."""

    def __init__(self, pid: int, status: IO[bytes], stdout: IO[str] | None, stderr: IO[str] | None) -> None:
        self.pid, self.stdout, self.stderr = pid, stdout, stderr
        self.returncode: int | None = None
        self._status = threading.Thread(target=self._await_status, args=(status,), daemon=True)
        self._status.start()

    def _await_status(self, status: IO[bytes]) -> None:
        with status:
            self.returncode = int(status.readline())

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        self._status.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(f"forked process {self.pid}", timeout or 0)
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        texts: dict[str, str] = {}
        streams = {name: stream for name in ("stdout", "stderr") if (stream := getattr(self, name))}
        readers = [
            threading.Thread(target=lambda n=name, s=stream: texts.update({n: s.read()}), daemon=True)
            for name, stream in streams.items()
        ]
        for reader in readers:
            reader.start()
        self.wait(timeout)
        for reader in readers:
            reader.join(timeout)
            if reader.is_alive():
                raise subprocess.TimeoutExpired(f"output of forked process {self.pid}", timeout or 0)
        for stream in streams.values():
            stream.close()
        return texts.get("stdout", ""), texts.get("stderr", "")


class ForkServer:
    """The client's side; ends with this process."""

    def __init__(self) -> None:
        self.environ = _at_start(os.environ)
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._channel.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        self._server = subprocess.Popen(
            [sys.executable, __file__, str(theirs.fileno())],
            stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()], start_new_session=True,
            env=os.environ | {"HF_HUB_OFFLINE": "1"}, cwd="/",
        )  # fmt: skip
        theirs.close()
        atexit.register(self.close)

    def close(self) -> None:
        self._channel.close()
        self._server.wait()

    def start(
        self, argv: list[str], cwd: Path, environ: dict[str, str], stdio: tuple[int, int, int]
    ) -> ForkedProcess:
        """Forks `python ARGV`; `stdio` is as in `subprocess.Popen`, descriptors or DEVNULL, PIPE, PIPE."""
        stdin, *others = stdio
        theirs = [os.open(os.devnull, os.O_RDONLY) if stdin == subprocess.DEVNULL else os.dup(stdin)]
        streams: list[IO[str] | None] = []
        for fd in others:
            read, write = os.pipe() if fd == subprocess.PIPE else (None, os.dup(fd))
            streams.append(None if read is None else os.fdopen(read))
            theirs.append(write)
        pid, status = self._fork(argv, cwd, environ, theirs)
        for fd in theirs:
            os.close(fd)
        return ForkedProcess(pid, status, *streams)

    def _fork(
        self, argv: list[str], cwd: Path, environ: dict[str, str], stdio: list[int]
    ) -> tuple[int, IO[bytes]]:
        """Returns the new process's id, and a stream whose next line is going to be its exit code."""
        read, write = os.pipe()
        _send(self._channel, Command(argv, str(cwd), environ, [0, 1, 2]), [*stdio, write])
        os.close(write)
        status = os.fdopen(read, "rb", buffering=0)
        return int(status.readline()), status


@cache
def server() -> ForkServer:
    """The one server of this process, started when the first test wants it."""
    return ForkServer()


def fits(environ: dict[str, str]) -> bool:
    """Whether a process with this environment would have started as the server did."""
    return _at_start(environ) == server().environ


def _at_start(environ: Any) -> dict[str, str]:
    return {key: value for key, value in environ.items() if key.startswith(AT_START) and key != "PYTHONPATH"}


def _send(channel: socket.socket, command: Command, fds: list[int]) -> None:
    socket.send_fds(channel, [json.dumps(vars(command)).encode()], fds)


def _receive(channel: socket.socket) -> tuple[Command, list[int]] | None:
    message, fds, _, _ = socket.recv_fds(channel, 1 << 20, 64)
    return (Command(**json.loads(message)), fds) if message else None


def serve(channel: socket.socket) -> tuple[Command, list[int]]:
    """Returns in each forked process, with its command; the server exits when the channel is closed."""
    while received := _receive(channel):
        reap()
        command, fds = received
        if fork(fds):
            channel.close()
            return command, fds
        for fd in fds:
            os.close(fd)
    reap(block=True)
    os._exit(0)


def reap(block: bool = False) -> None:
    """Waits for the children that are over, whose CPU time is then counted as this process's."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, 0 if block else os.WNOHANG)[0]:
            pass


def fork(fds: list[int]) -> bool:
    """Forks a keeper, which forks the process and writes its id and exit code to the last descriptor.

    Returns True in the new process.
    """
    if os.fork():
        return False
    status = fds.pop()
    if not (pid := os.fork()):
        os.close(status)
        return True
    for fd in fds:
        os.close(fd)
    os.write(status, f"{pid}\n".encode())
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.write(status, f"{code}\n".encode())
    os._exit(0)


def become(command: Command, fds: list[int], imported: dict[str, str]) -> None:
    """Makes this forked process the one that was wanted, up to its first line of Python.

    imported: the environment variables that the imports set.
    """
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _place(fds, command.fds)
    os.chdir(command.cwd)
    os.environ.clear()
    os.environ.update(imported | command.environ)


def _place(fds: list[int], numbers: list[int]) -> None:
    high = [os.dup(fd) if fd > max(numbers) else _dup_above(fd, max(numbers)) for fd in fds]
    for fd in fds:
        os.close(fd)
    for fd, number in zip(high, numbers, strict=True):
        os.dup2(fd, number)
        os.close(fd)


def _dup_above(fd: int, number: int) -> int:
    return fcntl.fcntl(fd, fcntl.F_DUPFD, number + 1)


def offer_workers() -> None:
    """Leaves a copy of this process behind, which is the server that the sweep's workers are forked from."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address := connection.arbitrary_address("AF_UNIX"))
    listener.listen()
    alive, ours = os.pipe()
    if pid := os.fork():
        listener.close()
        os.close(alive)
        server = forkserver._forkserver
        server._forkserver_address, server._forkserver_alive_fd, server._forkserver_pid = address, ours, pid
        return
    os.close(ours)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    try:
        forkserver.main(listener.detach(), alive, [])
    finally:
        os._exit(0)


def run(argv: list[str]) -> None:
    """`python ARGV`."""
    if argv[0] == "-m":
        sys.path[0] = os.getcwd()
        sys.argv = argv[1:]
        sys.modules.pop(argv[1], None)  # imported already; runpy warns of that
        runpy.run_module(argv[1], run_name="__main__", alter_sys=True)
    else:
        sys.path[0] = str(Path(argv[0]).resolve().parent)
        sys.argv = argv
        runpy.run_path(argv[0], run_name="__main__")


def main() -> None:
    before = dict(os.environ)
    for name in PRELOADED:
        importlib.import_module(name)
    imported = {name: value for name, value in os.environ.items() if name not in before}
    ready_tables.copy_from_now_on(eager=True)  # before it forks
    gc.collect()
    gc.freeze()  # a collection in a fork does not visit, and so copy, what was imported
    channel = socket.socket(fileno=int(sys.argv[1]))
    command, fds = serve(channel)
    become(command, fds, imported)
    offer_workers()
    run(command.argv)


if __name__ == "__main__":
    main()
