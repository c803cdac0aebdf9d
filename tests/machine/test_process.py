"""Which process is which: over PID namespaces, boots, set clocks and ended processes."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import psutil
import pytest

from finesweep.config.run import TrackingConfig
from finesweep.machine import process
from finesweep.machine.process import ProcessIdentity, this_process
from finesweep.tags import Tag
from finesweep.tracking import abandoned, kill_abandoned_runs, open_store, start_run

ASK = """
from finesweep.machine.process import ProcessIdentity, this_process
print(ProcessIdentity.parse(input()).is_alive(), this_process())
"""


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    started = subprocess.Popen(["sleep", "300"])
    yield started
    started.kill()
    started.wait()


def identity(pid: int) -> ProcessIdentity:
    """The identity that a process of this namespace would give itself."""
    return replace(this_process(), pid=str(pid), start=process._stat(str(pid))[process.START_TIME])


def test_a_process_lives_until_it_ends_whatever_the_clock_says(
    child: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    named = ProcessIdentity.parse(str(identity(child.pid)))
    monkeypatch.setattr(psutil, "boot_time", lambda: 0.0)  # what psutil adds to a start in clock ticks
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: 0.0)
    assert named.is_alive() is True
    assert replace(named, start="1").is_alive() is False  # a later process with the pid
    child.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert named.is_alive() is False  # a zombie
    child.wait()
    assert named.is_alive() is False


@pytest.mark.parametrize("change", [{"host": "other"}, {"boot": "other"}, {"namespace": "1"}])
def test_a_process_that_cannot_be_seen_is_neither_alive_nor_dead(change: dict[str, str]) -> None:
    assert replace(this_process(), **change).is_alive() is None


def test_an_identity_of_an_earlier_version_is_read_and_cannot_be_seen() -> None:
    old = ProcessIdentity.parse(f"{this_process().host}|{os.getpid()}|1764110000.12")
    assert (old.host, old.pid, old.is_alive()) == (this_process().host, str(os.getpid()), None)
    assert ProcessIdentity.parse("damaged").is_alive() is None


@pytest.mark.parametrize("mount", [["--mount-proc"], []], ids=["own /proc", "/proc of the host"])
def test_two_pid_namespaces_of_one_host_do_not_see_each_other(mount: list[str]) -> None:
    unshare = ["unshare", "--pid", "--fork", *mount]
    if shutil.which("unshare") is None or subprocess.run([*unshare, "true"], capture_output=True).returncode:
        pytest.skip("this user may not make a PID namespace")
    done = subprocess.run(
        [*unshare, sys.executable, "-c", ASK], input=str(this_process()), capture_output=True, text=True
    )
    alive, there = done.stdout.split()
    assert alive == "None", done.stderr
    assert ProcessIdentity.parse(there).boot == this_process().boot
    assert ProcessIdentity.parse(there).is_alive() is None


def test_a_pid_that_proc_hides_from_this_user_is_not_taken_for_dead(
    child: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    named, stat = identity(child.pid), process._stat

    def hidden(pid: str) -> list[str]:
        if pid == named.pid:
            raise FileNotFoundError
        return stat(pid)

    monkeypatch.setattr(process, "_stat", hidden)
    assert named.is_alive() is None


def test_without_proc_a_process_is_known_by_its_start(
    child: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on macOS."""
    plain = ProcessIdentity(this_process().host, process.UNKNOWN, process.UNKNOWN, str(os.getpid()), "1.00")
    monkeypatch.setattr(process, "this_process", lambda: plain)
    named = replace(plain, pid=str(child.pid), start=f"{psutil.Process(child.pid).create_time():.2f}")
    assert named.is_alive() is True
    assert replace(named, start="1.00").is_alive() is False


def test_an_open_run_is_closed_only_if_its_process_is_known_to_be_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(abandoned, "machine_id", lambda: "m")
    here, config = this_process(), TrackingConfig()
    ended = replace(here, start="1")
    tags = {
        "ended": {Tag.PROCESS: str(ended), Tag.MACHINE: "m"},
        "alive": {Tag.PROCESS: str(here), Tag.MACHINE: "m"},
        "in a container": {Tag.PROCESS: str(replace(ended, namespace="1")), Tag.MACHINE: "m"},
        "before the reboot": {Tag.PROCESS: str(replace(ended, boot="b")), Tag.MACHINE: "m"},
        "host of the same name": {Tag.PROCESS: str(replace(ended, boot="b")), Tag.MACHINE: "other"},
        "0.1, pid in use": {Tag.PROCESS: f"{os.getpid()}:1.00"},
        "0.1, ended": {Tag.PROCESS: "4194305:1.00"},  # above the largest pid of Linux
    }
    for name, tag in tags.items():
        start_run(config, "demo", name, tag)
    kill_abandoned_runs(config)
    client = open_store(config)
    runs = client.search_runs([e.experiment_id for e in client.search_experiments()])
    closed = {run.info.run_name for run in runs if run.info.status == "KILLED"}
    assert closed == {"ended", "before the reboot", "0.1, ended"}
