"""Each worker its place: cores and threads, or a GPU, before torch starts, and said in the run."""

import os
import subprocess
import sys

import pytest

from finesweep.machine.determinism import THREADS
from finesweep.machine.placement import Placement

CLAIM = """
import os, sys
from finesweep.machine.placement import Placement
print(Placement(threads=1).take(int(sys.argv[1]))["finesweep.cores"], sorted(os.sched_getaffinity(0)),
      "torch" in sys.modules, os.environ["OMP_NUM_THREADS"], flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores are claimed on Linux only")
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
def test_two_workers_get_different_cores_and_a_killed_ones_is_free_again(tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("TMPDIR", str(tmp_path))

    def worker(index: int) -> tuple[subprocess.Popen[str], str]:
        process = subprocess.Popen(
            [sys.executable, "-c", CLAIM, str(index)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout
        core, said = process.stdout.readline().strip().split(" ", 1)
        assert said == f"[{core}] False 1"  # pinned to it, before torch, with one thread
        return process, core

    (first, core), (second, other) = worker(0), worker(1)
    assert core != other
    first.kill()
    first.communicate(timeout=30)
    third, again = worker(2)
    assert again == core
    for process in (second, third):
        process.communicate(timeout=30)


WIDEN = """
import os, sys
from finesweep.machine.placement import Placement, take_idle_cores
assert take_idle_cores() is None
Placement(threads=1).take(0)
for _ in sys.stdin:
    print(take_idle_cores(), len(os.sched_getaffinity(0)), flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores are claimed on Linux only")
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
def test_the_last_worker_takes_the_cores_of_those_that_have_ended(tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    cores = sorted(os.sched_getaffinity(0))[:2]
    last = subprocess.Popen(
        ["taskset", "-c", ",".join(map(str, cores)), sys.executable, "-c", WIDEN],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert last.stdin and last.stdout
    with subprocess.Popen(
        ["taskset", "-c", ",".join(map(str, cores)), sys.executable, "-c", CLAIM, "1"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as other:  # fmt: skip
        assert other.stdout and other.stdout.readline()
        last.stdin.write("\n")
        last.stdin.flush()
        assert last.stdout.readline() == "1 1\n"
        other.communicate(timeout=30)
    assert last.communicate("\n", timeout=30)[0] == "2 2\n"


def test_workers_go_round_the_gpus_that_they_were_allotted(monkeypatch: pytest.MonkeyPatch) -> None:
    places = Placement(gpus=2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    taken = []
    for index in range(4):
        taken.append(places.take(index)["finesweep.gpu"])
        assert os.environ.pop("CUDA_VISIBLE_DEVICES") == taken[-1]
    assert taken == ["0", "1", "0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")  # as a cluster does
    assert places.take(1) == {"finesweep.worker": "1", "finesweep.gpu": "7"}


def test_threads_are_said_to_every_library_before_it_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in THREADS:
        monkeypatch.delenv(name, raising=False)
    tags = Placement(threads=3, pin=False).take(0)
    assert tags == {"finesweep.worker": "0", "finesweep.threads": "3"}
    assert {os.environ[name] for name in THREADS} == {"3"}
