"""Describes trials and studies on their runs in MLflow, for people: no result depends on it."""

import logging
from collections.abc import Callable

from finesweep.tracking import TrackedRun

log = logging.getLogger(__name__)


def describe_run(run: Callable[[], TrackedRun], text: Callable[[], str]) -> None:
    """Describes a run; whatever keeps it from that is only a line in the log."""
    try:
        run().describe(text())
    except Exception as error:
        log.warning("a run in MLflow is not described: %s: %s", type(error).__name__, error)
