"""Finds runs and reads their metrics."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from finesweep.config.run import TrackingConfig
from finesweep.errors import ConfigError, RunError
from finesweep.io.redaction import redact_urls
from finesweep.tracking.store import SQLITE, PatientClient, open_reader


def find_run(config: TrackingConfig, run_id: str) -> Run:
    """Raises: RunError if the store has no such run, ConfigError if the store cannot be opened."""
    if config.uri.startswith(SQLITE) and not Path(config.uri.removeprefix(SQLITE)).exists():
        raise RunError(
            f"run {run_id!r}: there is no {config.uri} here, and no folder of that name; go to where "
            "train.py ran, or say where its runs are: --tracking-uri"
        )
    try:
        return open_reader(config).get_run(run_id)
    except MlflowException as error:
        raise RunError(
            f"run {run_id!r}: not in {redact_urls(config.uri)}; legal: a run's id, as `finesweep best STUDY` "
            "and `finesweep ui` show it, or a folder that `finesweep export` made; "
            "another store: --tracking-uri"
        ) from error


def read_history(client: PatientClient, run_id: str, names: Iterable[str]) -> dict[tuple[str, int], float]:
    """Reads every value of these metrics, by metric and step."""
    return {
        (name, metric.step): float(metric.value)
        for name in names
        for metric in client.get_metric_history(run_id, name)
    }  # fmt: skip


def open_existing(config: TrackingConfig) -> PatientClient:
    """Gives a client that only reads. Raises: ConfigError if the store is not there, or cannot be opened."""
    if config.uri.startswith(SQLITE) and not Path(config.uri.removeprefix(SQLITE)).exists():
        raise ConfigError(f"tracking.uri: there is no {config.uri} here; another store: --tracking-uri")
    return open_reader(config)


def read_values(client: PatientClient, run_ids: Sequence[str], name: str) -> list[dict[int, float]]:
    """Reads a metric of each run: step -> value; empty for a run that has none, or is not there."""
    return [_values(client, run_id, name) for run_id in run_ids]


def _values(client: PatientClient, run_id: str, name: str) -> dict[int, float]:
    try:
        return {metric.step: float(metric.value) for metric in client.get_metric_history(run_id, name)}
    except MlflowException:
        return {}
