"""The faults of `make faults` that start no process; the others take minutes."""

from pathlib import Path

import faults
import pytest
from causes import held
from causes.base import QUICK, Came
from processes import ROOT


@pytest.mark.parametrize("name", sorted(QUICK))
def test_nothing_is_lost_silent_or_wrong(tmp_path: Path, name: str) -> None:
    came = faults.run([name], tmp_path)[name]
    assert isinstance(came, Came)
    assert (came.lost, came.said, came.right) == (0, True, True), came.detail


def test_faults_are_counted_without_those_that_this_machine_cannot_cause() -> None:
    results: dict[str, Came | str] = {
        "a": Came(0, True, True, faults=10),
        "b": Came(1, False, False),
        "c": "skipped",
    }
    assert faults.count(results) == "11 faults, 1 finished results lost, 1 silent, 10/11 right values"


def test_every_test_that_holds_a_number_is_there() -> None:
    """The campaign runs them by name."""
    for test in {test for tests in held.HELD.values() for test in tests}:
        file, _, function = test.partition("::")
        text = (ROOT / "tests" / file).read_text()
        assert not function or f"def {function}(" in text, test
