"""The faults of `make faults` that start no process; the others take minutes."""

from pathlib import Path

import faults
import pytest
from faults import Came


@pytest.mark.parametrize("name", sorted(faults.QUICK))
def test_nothing_is_lost_silent_or_wrong(tmp_path: Path, name: str) -> None:
    came = faults.run([name], tmp_path)[name]
    assert isinstance(came, Came)
    assert (came.lost, came.said, came.right) == (0, True, True), came.detail


def test_faults_are_counted_without_those_that_this_machine_cannot_cause() -> None:
    results: dict[str, Came | str] = {"a": Came(0, True, True), "b": Came(1, False, False), "c": "skipped"}
    assert faults.count(results) == "2 faults, 1 finished results lost, 1 of 2 silent, 1/2 right values"
