"""Logs the study's page as an artifact of its parent run."""

import logging

from optuna.study import Study

from finesweep.report.curves import curves_of
from finesweep.report.facts import gather
from finesweep.report.page import page
from finesweep.study.records import Conclusion
from finesweep.tracking import TrackedRun

log = logging.getLogger(__name__)
ARTIFACT = "report.html"


def publish_page(study: Study, parent: TrackedRun, conclusion: Conclusion) -> None:
    """Logs the page; if it cannot be made or logged, the log says why, and the study goes on."""
    try:
        facts = gather(study, *curves_of(study, parent.client), conclusion)
        parent.log_text(page([facts]), ARTIFACT)
    except Exception as error:
        log.warning("%s left out: %s: %s", ARTIFACT, type(error).__name__, error)
