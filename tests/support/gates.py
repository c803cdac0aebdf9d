"""A metric that lets no trial end before the test has seen what it waits for."""

from pathlib import Path

GATED = ("data.metric=gate:score", "data.direction=maximize")
METRIC = """
import time
from pathlib import Path

from finesweep.hooks import current_hooks


def score(y_true, y_pred):
    while current_hooks.get() and not Path(__file__).with_name("open").exists():
        time.sleep(0.05)
    return sum(one == other for one, other in zip(y_true, y_pred)) / len(y_true)
"""


def shut(folder: Path) -> None:
    """Has the trials of a project wait in their first evaluation, until `let_through`."""
    (folder / "gate.py").write_text(METRIC)
    (folder / "open").unlink(missing_ok=True)


def let_through(folder: Path) -> None:
    (folder / "open").touch()
