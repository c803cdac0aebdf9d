"""MLflow's model registry: names and versions of models, and the alias of the one to use."""

from mlflow.entities import LoggedModel, LoggedModelStatus
from mlflow.exceptions import MlflowException

from finesweep.config.run import TrackingConfig
from finesweep.errors import ConfigError, ModelError
from finesweep.tracking.models import find_model
from finesweep.tracking.store import PatientClient, await_store
from finesweep.tracking.tracked import deliver_spooled

ALIAS = "champion"


def register(config: TrackingConfig, run_id: str, name: str) -> tuple[str, bool]:
    """Makes a run's model the champion of a registered model. Returns its version, and whether that is new.

    Raises: ModelError if the run has no model; ConfigError for a name that MLflow does not take.
    """
    client = await_store(config)
    deliver_spooled(client)  # the model may wait there
    model = find_model(client, client.get_run(run_id))
    if model is None or model.status != LoggedModelStatus.READY:
        raise ModelError(
            f"run {run_id}: no model of it is in MLflow: its study is not finished, or an earlier finesweep "
            "made it; start the study's command again, or train it again: "
            f"finesweep reproduce {run_id}"
        )
    try:
        versions = client.search_model_versions(f"name = '{name}' and run_id = '{run_id}'")
        known = next((v.version for v in versions if v.source == model.artifact_location), None)
        version = known or _new_version(client, name, model)
        client.set_registered_model_alias(name, ALIAS, version)
    except MlflowException as error:
        if error.error_code != "INVALID_PARAMETER_VALUE":
            raise
        raise ConfigError.at("NAME", name, f"a name that MLflow takes ({error.message})") from error
    return str(version), known is None


def _new_version(client: PatientClient, name: str, model: LoggedModel) -> str:
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    # The place, not `models:/ID`, which MLflow would look for in the store of its global address.
    made = client.create_model_version(
        name, model.artifact_location, model.source_run_id, model_id=model.model_id
    )
    return str(made.version)
