"""Pages of MLflow's user interface."""

from mlflow.entities import Run

from finesweep.config.run import TrackingConfig
from finesweep.errors import StudyError, did_you_mean
from finesweep.tags import Kind, Tag
from finesweep.tracking.store import PatientClient, open_store
from finesweep.tracking.writes import SIDE

DEFAULT = "0"  # the experiment that MLflow makes by itself


def page_of(config: TrackingConfig, study: str | None) -> str:
    """Returns the page of a study, or of the runs of the newest experiment, from the `#` on.

    Raises: StudyError for a study that has no run in the store.
    """
    client = open_store(config)
    if study is not None:
        info = _study_run(client, study).info
        return f"#/experiments/{info.experiment_id}/runs/{info.run_id}?{SIDE}"
    experiments = client.search_experiments(order_by=["last_update_time DESC"])
    own = [experiment.experiment_id for experiment in experiments if experiment.experiment_id != DEFAULT]
    return f"#/experiments/{own[0]}/runs?{SIDE}" if own else f"#/experiments?{SIDE}"


def _study_run(client: PatientClient, study: str) -> Run:
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    runs = client.search_runs(experiments, f"tags.`{Tag.KIND}` = '{Kind.STUDY}'")
    for run in runs:
        if run.data.tags.get(Tag.STUDY) == study:
            return run
    names = sorted({run.data.tags.get(Tag.STUDY, "") for run in runs})
    raise StudyError(
        f"study {study!r}: no run of it is in the MLflow store; {did_you_mean(study, names)}"
        f"there: {', '.join(names) or 'none'}"
    )
