"""Worker processes: as good as new ones, though they are forked, and their ends are seen."""

import gc
import os
import signal
import subprocess
import sys
import weakref
from collections.abc import Callable
from functools import partial
from multiprocessing import forkserver
from pathlib import Path

import psutil
import pytest
from processes import ROOT, start

from finesweep.machine import fork_server
from finesweep.machine.determinism import THREADS
from finesweep.machine.fork_server import run_each
from finesweep.machine.imports import import_all
from finesweep.worker.isolation import where_torch_is

# What a fork of the preloaded server finds; run by a process that has imported everything already.
LOOK = """
import gc, threading
import finesweep.worker.preload
import psutil, torch
print(gc.get_freeze_count() > 100_000, threading.active_count(), torch.cuda.is_initialized())
print([file.path for file in psutil.Process().open_files()], len(psutil.Process().net_connections()))
"""


@pytest.fixture(autouse=True)
def cold_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """These functions need no libraries."""
    monkeypatch.setattr(fork_server.context, "set_forkserver_preload", lambda _: None)


@pytest.mark.parametrize("backend", [None, "module://matplotlib_inline.backend_inline"])
def test_a_server_does_without_a_notebooks_backend(
    monkeypatch: pytest.MonkeyPatch, backend: str | None
) -> None:
    monkeypatch.delenv("MPLBACKEND", raising=False)
    if backend:
        monkeypatch.setenv("MPLBACKEND", backend)
    before = dict(os.environ)
    with fork_server._servers_environment():
        assert os.environ["MPLBACKEND"] == "agg"
    assert dict(os.environ) == before


def test_results_come_in_order_and_errors_as_they_are() -> None:
    assert run_each([partial(pow, base, 2) for base in range(3)]) == [0, 1, 4]
    with pytest.raises(ZeroDivisionError):
        run_each([lambda: 1 // 0])
    with pytest.raises(RuntimeError, match="Unpicklable: seen"):
        run_each([unpicklable])


def unpicklable() -> None:
    class Unpicklable(Exception):
        def __reduce__(self) -> str:
            raise TypeError

    raise Unpicklable("seen")


def test_a_killed_process_is_noticed_and_ends_the_others(tmp_path: Path) -> None:
    left = tmp_path / "pid"
    os.mkfifo(left)

    def waits() -> None:
        left.write_text(str(os.getpid()))
        signal.pause()

    def is_killed() -> None:
        (tmp_path / "read").write_text(left.read_text())  # the other one runs
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(fork_server.BrokenProcessPool):
        run_each([waits, is_killed])
    assert not psutil.pid_exists(int((tmp_path / "read").read_text()))


def test_a_server_that_is_killed_is_noticed_and_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    (server,) = run_each([os.getppid])
    os.kill(server, signal.SIGSTOP)  # as while it imports
    read = forkserver.read_signed

    def answer(descriptor: int) -> object:
        os.kill(server, signal.SIGKILL)  # now it is waited for
        return read(descriptor)

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(forkserver, "read_signed", answer)
        with pytest.raises(fork_server.BrokenProcessPool, match="server"):
            run_each([os.getpid])
    os.waitid(os.P_PID, server, os.WEXITED | os.WNOWAIT)  # all its threads take a moment to die
    assert run_each([os.getppid]) != [server]


def test_a_question_whose_process_is_killed_is_answered_here() -> None:
    run_each([os.getpid])  # the server runs from here on
    here = os.getpid()

    def answer() -> int:
        if os.getpid() != here:
            os.kill(os.getpid(), signal.SIGKILL)
        return here

    assert where_torch_is(answer) == here


def test_a_process_has_the_environment_and_folder_of_its_start(
    own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_each([os.getpid])  # the server runs from here on
    for name in THREADS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FINESWEEP_SECRET_TRACKING_URI", "set later")
    variables, folder = run_each([lambda: (dict(os.environ), os.getcwd())] * 2)[1]
    assert variables["FINESWEEP_SECRET_TRACKING_URI"] == "set later"
    assert folder == str(own_folder)
    assert "PYTORCH_NVML_BASED_CUDA_CHECK" not in variables
    from joblib import cpu_count

    assert {variables[name] for name in THREADS} == {str(max(1, cpu_count() // 2))}
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert run_each([lambda: os.environ["OMP_NUM_THREADS"]]) == ["7"]


def test_a_process_gets_its_signals() -> None:
    interrupts: Callable[[], None] = lambda: os.kill(os.getpid(), signal.SIGINT)  # noqa: E731
    with pytest.raises(KeyboardInterrupt):
        run_each([interrupts])
    (blocked,) = run_each([lambda: signal.pthread_sigmask(signal.SIG_BLOCK, ())])
    assert not blocked & set(fork_server.SIGNALS)


def test_the_server_has_computed_and_opened_nothing(tmp_path: Path) -> None:
    (tmp_path / "look.py").write_text(LOOK)
    stdout, stderr = start(program=(str(tmp_path / "look.py"),), cwd=tmp_path).communicate(timeout=60)
    assert stdout.splitlines() == ["True 1 False", "[] 0"], stderr


def test_the_server_ends_while_it_imports_if_its_command_is_over(tmp_path: Path) -> None:
    code = (
        "import os, sys; parents = iter([10, 1]); os.getppid = lambda: next(parents)\n"
        "import finesweep.worker.preload"
    )
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", code], env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0 and " torch\n" not in done.stderr


def test_what_is_imported_is_no_garbage_and_nothing_else_is_exempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "module_of_many.py").write_text("kept = [[] for _ in range(20_000)]")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "module_of_many", raising=False)
    cycle: list[object] = []
    cycle.append(cycle)
    gone = weakref.finalize(made := type("Cyclic", (), {"own": cycle})(), lambda: None)
    made.itself = made  # type: ignore[attr-defined]
    del cycle, made
    before = gc.get_freeze_count()
    import_all("module_of_many")
    assert gc.get_freeze_count() >= before + 20_000
    assert not gone.alive and gc.isenabled()
    frozen, later = gc.get_freeze_count(), [[] for _ in range(1000)]
    import_all("module_of_many")
    assert gc.get_freeze_count() == frozen and later
    gc.unfreeze()
