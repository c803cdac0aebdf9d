"""Each worker its place: cores and threads, or GPUs, before torch starts, and said in the run."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from finesweep.machine import claims, gpus
from finesweep.machine.determinism import THREADS
from finesweep.machine.placement import Placement

Start = Callable[..., "Worker"]

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
        started.enter_context(process)  # which ends with its stdin
        assert process.stdout
        core, said = process.stdout.readline().strip().split(" ", 1)
        assert said == f"[{core}] False 1"  # pinned to it, before torch, with one thread
        return process, core

    with ExitStack() as started:
        (first, core), (_, other) = worker(0), worker(1)
        assert core != other
        first.kill()
        first.communicate(timeout=30)
        _, again = worker(2)
        assert again == core


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
    on_two = ["taskset", "-c", ",".join(map(str, cores)), sys.executable, "-c"]
    with subprocess.Popen(
        [*on_two, WIDEN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as last:  # fmt: skip
        assert last.stdin and last.stdout
        with subprocess.Popen(
            [*on_two, CLAIM, "1"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as other:
            assert other.stdout and other.stdout.readline()
            last.stdin.write("\n")
            last.stdin.flush()
            assert last.stdout.readline() == "1 1\n"
            other.communicate(timeout=30)
        assert last.communicate("\n", timeout=30)[0] == "2 2\n"


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores are claimed on Linux only")
def test_a_trial_of_several_processes_has_cores_for_each(start: Start) -> None:
    present = len(os.sched_getaffinity(0))
    assert "finesweep.cores" not in start(processes=present + 1).tags  # nor does it keep some of them
    assert start(processes=present).tags["finesweep.cores"].count(",") == present - 1


class Worker:
    """A process that takes a place, and holds it until it is killed."""

    def __init__(self, **place: int) -> None:
        code = (
            "import json, os, sys; from finesweep.machine.placement import Placement, VISIBLE\n"
            f"print(json.dumps(Placement(**{place!r}).take(0) | dict(visible=os.environ.get(VISIBLE))))\n"
            "sys.stdout.flush(); sys.stdin.read()"
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    @property
    def tags(self) -> dict[str, str]:
        """Waits for its place."""
        assert self.process.stdout
        tags: dict[str, str] = json.loads(self.process.stdout.readline())
        return tags

    @property
    def gpus(self) -> str:
        tags = self.tags
        assert tags["visible"] == tags["finesweep.gpu"]
        return tags["visible"]

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=30)


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts workers on a machine without a driver that knows GPUs by other names than numbers."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    workers: list[Worker] = []

    def started(**place: int) -> Worker:
        workers.append(Worker(**place))
        return workers[-1]

    yield started
    for worker in workers:
        worker.kill()


def test_workers_of_any_commands_take_gpus_that_are_free_and_wait_for_one(start: Start) -> None:
    first, second = start(gpus=2), start(gpus=2)
    taken = {worker: worker.gpus for worker in (first, second)}
    assert set(taken.values()) == {"0", "1"}
    third = start(gpus=2)
    first.kill()
    assert third.gpus == taken[first]


def test_workers_share_gpus_evenly_where_they_shall(start: Start) -> None:
    assert [start(gpus=2, workers_per_gpu=2).gpus for _ in range(4)] == ["0", "1", "0", "1"]


def test_a_trial_of_several_gpus_takes_all_of_them_or_none(start: Start) -> None:
    pair, single = start(gpus=4, processes=2), start(gpus=4)
    assert pair.gpus.count(",") == single.gpus.count(",") + 1
    waiting = start(gpus=4, processes=2)
    assert start(gpus=4).gpus.count(",") == 0  # the one that waits holds none
    single.kill()
    pair.kill()
    assert waiting.gpus.count(",") == 1


def test_the_names_are_those_that_a_cluster_gives(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    assert [start(gpus=2).gpus for _ in range(2)] == ["5", "7"]


def test_the_same_number_in_two_jobs_of_a_cluster_is_not_taken_for_one_gpu(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def driver_says(*uuids: str) -> None:
        lines = "\n".join(f"echo {index}, {uuid}" for index, uuid in enumerate(uuids))
        (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n{lines}\n")
        (tmp_path / "nvidia-smi").chmod(0o755)

    driver_says("GPU-a1")
    assert start(gpus=1).gpus == "0"
    driver_says("GPU-b1", "GPU-a1")
    assert start(gpus=2).gpus == "0"  # GPU-b1; GPU-a1 is held by the first, as number 0
    for name, is_free in (("GPU-a1", False), ("GPU-b", False), ("1", False), ("GPU-c", True)):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", name)  # the beginning of a UUID will do
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        gpus._uuids.cache_clear()
        assert (claims.count_free("gpus", gpus.allotted(1)) == 1) == is_free
    gpus._uuids.cache_clear()


def test_a_worker_that_waits_for_gpus_gives_up_when_it_is_no_longer_needed(
    start: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    place = Placement(gpus=1)
    assert place.note(1) is None
    assert start(gpus=1).gpus == "0"
    assert place.take(0, lambda: False) is None
    note = place.note(1)
    assert note and "there is room for 0 of 1 workers, and the others wait" in note


def test_threads_are_said_to_every_library_before_it_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in THREADS:
        monkeypatch.delenv(name, raising=False)
    tags = Placement(threads=3, pin=False).take(0)
    assert tags == {"finesweep.worker": "0", "finesweep.threads": "3"}
    assert {os.environ[name] for name in THREADS} == {"3"}
