"""Worker processes: forked from a server that has imported everything once, and has computed nothing.

Where the system has no fork servers (Windows), each process is a new Python instead.
"""

import faulthandler
import multiprocessing
import os
import pickle
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from multiprocessing import connection, forkserver, resource_tracker
from types import ModuleType
from typing import Any, NamedTuple, TypeVar

import cloudpickle

from finesweep.machine.determinism import THREADS

T = TypeVar("T")
# Set in the server alone. Libraries start no threads when they are loaded, which a fork would not copy; and
# one that asks whether there is a GPU opens no CUDA, which no fork could use any more.
# Source: https://docs.pytorch.org/docs/stable/notes/cuda.html#assessing-if-cuda-is-available
SERVERS = dict.fromkeys(THREADS, "1") | {"PYTORCH_NVML_BASED_CUDA_CHECK": "1"}
BACKEND = {"MPLBACKEND": "agg"}  # also in a notebook, whose own would import IPython
SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2") if hasattr(signal, name)
)
FORKS = "forkserver" in multiprocessing.get_all_start_methods()
context: Any = multiprocessing.get_context("forkserver" if FORKS else "spawn")

_with_server: set[int] = set()  # processes that have started one; a fork inherits the set, but no server


class Started(NamedTuple):
    """A process that was started, and this process's end of the pipe to it."""

    process: Any  # multiprocessing's
    channel: connection.Connection


def start_server() -> None:
    """Starts this process's server, unless it runs. It imports while this process does other things.

    A process that was forked from a server has its own processes forked from the same one.
    """
    if FORKS and not _shares_server():
        context.set_forkserver_preload(["finesweep.worker.preload"])
        resource_tracker.ensure_running()  # it would unblock the signals
        with _servers_environment(), _blocked_signals():
            forkserver.ensure_running()
        _with_server.add(os.getpid())


def _shares_server() -> bool:
    """Tells whether this process was forked from a server, which it can then reach.

    Side effect: keeps multiprocessing from starting another one, which it does despite its documentation.
    """
    server: Any = forkserver._forkserver
    address = server._forkserver_address
    shares = server._forkserver_pid is None and address is not None and os.path.exists(address)
    if shares:
        server.ensure_running = lambda: None
    else:
        vars(server).pop("ensure_running", None)
    return bool(shares)


def _leave_shared_server() -> None:
    """Has this process start a server of its own with the next process, if it shared one."""
    server: Any = forkserver._forkserver
    if "ensure_running" in vars(server):
        server._forkserver_address = None


def server_runs() -> bool:
    """Tells whether this process has started its server."""
    return os.getpid() in _with_server


@contextmanager
def _servers_environment() -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(SERVERS | before | BACKEND)
    try:
        yield
    finally:
        for name in SERVERS | BACKEND:
            os.environ.pop(name, None)
            if name in before:
                os.environ[name] = before[name]


@contextmanager
def _blocked_signals() -> Iterator[None]:
    """Blocks signals of a terminal, which the server inherits: they are for the command and its workers."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def run_each(functions: Sequence[Callable[[], T]]) -> list[T]:
    """Runs each function in a process of its own, all at once, and returns what they return.

    Functions and results are pickled by cloudpickle, which takes functions of `__main__`.
    Raises: BrokenProcessPool if one of the processes was killed, and what a function raises; the processes
    that still run are then killed.
    """
    start_server()
    from joblib import cpu_count  # after the server is on its way

    threads = max(1, int(cpu_count()) // len(functions))
    started = [_start(function, threads, talks=False) for function in functions]
    try:
        answers: dict[connection.Connection, T] = {}
        while waiting := [receiver for _, receiver in started if receiver not in answers]:
            for receiver in connection.wait(waiting):
                assert isinstance(receiver, connection.Connection)
                answers[receiver] = _answer(receiver)
        return [answers[receiver] for _, receiver in started]
    finally:
        for process, receiver in started:
            if receiver not in answers:
                process.kill()
            process.join()
            receiver.close()


def start(function: Callable[[connection.Connection], object], threads: int) -> Started:
    """Starts a process that calls `function` with its end of a pipe, and sends its answer last.

    An answer is a pickled pair: True and the result, or False and the error. Whoever starts the process ends
    it. Raises: BrokenProcessPool if the server was killed.
    """
    start_server()
    return _start(function, threads, talks=True)


def _start(function: Callable[..., Any], threads: int, talks: bool) -> Started:
    receiver, sender = context.Pipe(duplex=talks)
    environ = dict.fromkeys(THREADS, str(threads)) | dict(os.environ)  # the server's is older
    threads_of_torch = None if "OMP_NUM_THREADS" in os.environ else threads
    process = context.Process(
        target=_main, args=(cloudpickle.dumps(function), environ, threads_of_torch, sender, talks)
    )
    try:
        with _without_main():
            process.start()
    except (EOFError, ConnectionError, FileNotFoundError) as error:
        _leave_shared_server()
        raise BrokenProcessPool("the server of worker processes was killed while it started one") from error
    sender.close()  # its end is the process's alone, so that its death is seen here
    return Started(process, receiver)


@contextmanager
def _without_main() -> Iterator[None]:
    """Hides the program from a process that is started, which would run it again, all but its last lines.

    Nothing of it is needed there: cloudpickle sends the functions of `__main__` as they are.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _answer(receiver: connection.Connection) -> Any:
    try:
        returned, value = pickle.loads(receiver.recv_bytes())
    except EOFError as error:
        raise BrokenProcessPool("a process ended before its function did; it was killed") from error
    if not returned:
        raise value
    return value


def _main(
    function: bytes,
    environ: dict[str, str],
    threads: int | None,
    sender: connection.Connection,
    talks: bool,
) -> None:
    """Is what the process does: it becomes one that this environment would have started, and answers."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if FORKS:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    faulthandler.enable()
    for name in (SERVERS | BACKEND).keys() - environ.keys():
        os.environ.pop(name, None)
    os.environ.update(environ)
    if threads and (torch := sys.modules.get("torch")):  # it has read the server's variables
        torch.set_num_threads(threads)
    answer: tuple[bool, Any]
    try:
        answer = True, pickle.loads(function)(*([sender] if talks else []))
    except BaseException as error:
        answer = False, error
    try:
        sent = cloudpickle.dumps(answer)
    except Exception:
        sent = cloudpickle.dumps((False, RuntimeError(f"{type(answer[1]).__name__}: {answer[1]}")))
    with suppress(BrokenPipeError):  # whoever asked was killed; a worker has told the study by now
        sender.send_bytes(sent)
