"""Runs that a person deleted in MLflow's UI while the study still needs them."""

import logging
from collections.abc import Iterable

from mlflow.exceptions import MlflowException

from finesweep.config.run import TrackingConfig
from finesweep.tracking.store import await_store

log = logging.getLogger(__name__)


def restore_deleted(config: TrackingConfig, run_ids: Iterable[str]) -> set[str]:
    """Restores the runs that were deleted in the UI, and logs a warning for each. Returns those that exist.

    A run that `mlflow gc` removed for good, or that another store has, stays away; a warning says so.
    Raises: StoreError: a store that is away has not lost the run.
    """
    client, there = await_store(config), set()
    for run_id in run_ids:
        try:
            run = client.get_run(run_id)
            if run.info.lifecycle_stage == "deleted":
                client.restore_run(run_id)
                log.warning("run %s (%s) was deleted; its study needs it, so it is restored", run_id,
                            run.info.run_name)  # fmt: skip
            there.add(run_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            log.warning("run %s is not in the store any more, and nothing is added to it (%s)", run_id,
                        str(error).partition("\n")[0])  # fmt: skip
    return there
