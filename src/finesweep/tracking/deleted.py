"""Runs that a person deleted in MLflow while they were written, or while their study still needs them."""

import logging
import time
from collections.abc import Iterable, Mapping
from enum import Enum, auto

from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from finesweep.config.run import TrackingConfig
from finesweep.tags import Tag
from finesweep.tracking.store import PatientClient, open_store

log = logging.getLogger(__name__)
SHOWN = 10  # names in one line


def restore_deleted(config: TrackingConfig, run_ids: Iterable[str]) -> set[str]:
    """Restores the runs that were deleted in the UI, and logs a warning for each. Returns those that exist.

    A run that `mlflow gc` removed for good, or that another store has, stays away; a warning says so.
    """
    client = open_store(config)
    return {run_id for run_id in run_ids if restore(client, run_id) in (Found.THERE, Found.RESTORED)}


class Found(Enum):
    THERE = auto()
    RESTORED = auto()  # it had been deleted, and can be written again
    GONE = auto()
    UNKNOWN = auto()  # the store did not say


def restore(client: PatientClient, run_id: str) -> Found:
    """Restores a run if it was deleted; a warning says so, or that it is gone."""
    try:
        run = client.get_run(run_id)
        if run.info.lifecycle_stage != "deleted":
            return Found.THERE
        client.restore_run(run_id)
        client.set_tag(run_id, Tag.RESTORED, f"{time.time():.0f}")
    except MlflowException as error:
        cause = str(error).partition("\n")[0]
        log.warning("run %s is not in the store any more, and nothing is added to it (%s)", run_id, cause)
        return Found.GONE if error.error_code == "RESOURCE_DOES_NOT_EXIST" else Found.UNKNOWN
    log.warning("run %s (%s) was deleted; it is needed, so it is restored", run_id, run.info.run_name)
    return Found.RESTORED


def changed_by_others(
    config: TrackingConfig, study: str, trials: Mapping[str, str], since: float
) -> list[str]:
    """Says which runs of a study were deleted: restored since a time (seconds since 1970), or gone for good.

    trials: the names of the trials, by the ids of their runs. Workers log each of it, but to files alone.
    """
    runs = {run.info.run_id: run for run in _runs_of(open_store(config), study)}
    restored = [run for run in runs.values() if float(run.data.tags.get(Tag.RESTORED, 0)) >= int(since)]
    gone = [name for run_id, name in trials.items() if run_id not in runs]
    lines = [
        f"run {run.info.run_id} ({run.info.run_name}) was deleted in MLflow; it is needed, so it is restored"
        for run in restored
    ]
    if gone:
        names = ", ".join(gone[:SHOWN]) + (f" and {len(gone) - SHOWN} more" if len(gone) > SHOWN else "")
        lines.append(
            f"the runs of {names} are not in MLflow's store: they were deleted there, or another store has "
            "them; the trials count, and their folders stay"
        )
    return lines


def _runs_of(client: PatientClient, study: str) -> list[Run]:
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    runs: list[Run] = []
    token = None
    while True:
        page = client.search_runs(experiments, f"tags.`{Tag.STUDY}` = '{study}'", page_token=token)
        runs += page
        if not (token := page.token):
            return runs
