"""Shared by the tests of what a person sees."""

import time

import pytest

from finesweep.study import clock


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    """The studies' clock stands still: on a slow machine, too, a trial is as old as the test says."""
    now = time.time()
    monkeypatch.setattr(clock, "now", lambda study: now)
