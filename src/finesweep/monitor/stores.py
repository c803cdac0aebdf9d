"""Tells in which stores a study is, for the commands that are printed for it."""

from optuna.study import Study

from finesweep.config.places import project, url_within
from finesweep.io.redaction import redact_urls
from finesweep.monitor.wording import STORAGE, TRACKING
from finesweep.study.backend import address_of
from finesweep.study.records import StudyRecord, TrialRecord


def storage_of(study: Study) -> str:
    """Returns the address of a study's storage, without its password; the usual one for a study in memory."""
    return url_within(redact_urls(address_of(study)), project()) or STORAGE


def tracking_of(study: Study) -> str:
    """Returns the MLflow store of the last command; of one that noted none, the one that its trials name."""
    last = StudyRecord(study).last_command
    if last and last.tracking_uri:
        return last.tracking_uri
    trials = reversed(study.get_trials(deepcopy=False))
    overrides = next(filter(None, (TrialRecord(trial).overrides for trial in trials)), [])
    given = [text.partition("=")[2] for text in overrides if text.lstrip("+").startswith("tracking.uri=")]
    return url_within(redact_urls(given[-1].strip("'\"")), project()) if given else TRACKING
