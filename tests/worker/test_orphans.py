"""A worker whose launching process was killed finishes its work; then its process ends too."""

import multiprocessing
import os
import sys

import pytest

from finesweep.machine.process import this_process
from finesweep.worker.isolation import ending_if_orphaned

FORK = multiprocessing.get_context("fork")


def work(command: str) -> None:
    with ending_if_orphaned(command):
        pass
    sys.exit(7)  # as far as this, only a worker comes that somebody waits for


@pytest.mark.parametrize(
    ("name", "alive", "code"), [("LokyProcess-1", False, 0), ("LokyProcess-1", True, 7), ("Other", False, 7)]
)
def test_only_a_joblib_worker_whose_launching_process_is_gone_ends(name: str, alive: bool, code: int) -> None:
    gone = FORK.Process(target=os.getpid)
    gone.start()
    identity = str(this_process())
    if not alive:
        identity = identity.replace(f"|{os.getpid()}|", f"|{gone.pid}|")
    gone.join()
    worker = FORK.Process(target=work, args=(identity,), name=name)
    worker.start()
    worker.join(30)
    assert worker.exitcode == code
