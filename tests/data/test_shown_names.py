"""Names that come from the data reach the terminal as text."""

from types import SimpleNamespace
from typing import Any

import pytest

from finesweep.data import overview


def test_a_label_cannot_control_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nothing: Any = SimpleNamespace()
    monkeypatch.setattr(overview, "task_of", lambda _: nothing)
    monkeypatch.setattr(overview, "overview", lambda *_: ["labels of train: a\x1b]52;c;eA==\x07 3"])
    monkeypatch.setattr(overview, "suspicions", lambda *_: iter(["label \x9b2J"]))
    overview.show(nothing, nothing)
    assert capsys.readouterr().err == (
        "labels of train: a\\x1b]52;c;eA==\\x07 3\nsuspicious: label \\x9b2J\n"
    )
