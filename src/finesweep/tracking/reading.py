"""Finds runs and reads their metrics."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from finesweep.config.run import TrackingConfig
from finesweep.errors import ConfigError, RunError
from finesweep.io.redaction import redact_urls
from finesweep.io.terminal import printable
from finesweep.tracking.store import SQLITE, PatientClient, open_reader

BEGINNING = re.compile("[0-9a-f]{1,31}")
MOST, SHOWN = 5, 12  # runs listed in an error, and characters of their ids


def find_run(config: TrackingConfig, run_id: str) -> Run:
    """Finds a run by its id, or by the beginning of its id if it is the only one that begins so.

    Raises: RunError if the store has no such run, or several; ConfigError if the store cannot be opened.
    """
    if config.uri.startswith(SQLITE) and not Path(config.uri.removeprefix(SQLITE)).exists():
        raise RunError(
            f"run {run_id!r}: there is no {config.uri} here, and no folder of that name; go to where "
            "the runs were made, or say where its runs are: --tracking-uri"
        )
    client = open_reader(config)
    try:
        return client.get_run(run_id)
    except MlflowException as error:
        found = _beginning(client, run_id) if BEGINNING.fullmatch(run_id) else []
        if len(found) == 1:
            return found[0]
        if found:
            raise RunError(f"run {run_id!r}: begins several ids; legal: one of {_named(found)}") from error
        raise RunError(
            f"run {run_id!r}: not in {redact_urls(config.uri)}; legal: a run's id, as `finesweep runs STUDY` "
            f"and `finesweep ui` show it, or its beginning{_newest(client)}, or a folder that "
            "`finesweep export` made; another store: --tracking-uri"
        ) from error


def read_all(client: PatientClient, run_id: str) -> dict[int, dict[str, float]]:
    """Reads every value of a run's metrics by step; of the machine's load (`system/`), none."""
    names = sorted(name for name in client.get_run(run_id).data.metrics if not name.startswith("system/"))
    values: dict[int, dict[str, float]] = {}
    for (name, step), value in read_history(client, run_id, names).items():
        values.setdefault(step, {})[name] = value
    return values


def _beginning(client: PatientClient, prefix: str) -> list[Run]:
    """Finds the runs whose ids begin so, a few of them if there are many."""
    matches = f"attributes.run_id LIKE '{prefix}%'"
    return list(client.search_runs(_everywhere(client), matches, max_results=MOST + 1))


def _newest(client: PatientClient) -> str:
    runs = client.search_runs(_everywhere(client), max_results=MOST, order_by=["attributes.start_time DESC"])
    return f" (the newest are {_named(list(runs))})" if runs else ""


def _everywhere(client: PatientClient) -> list[str]:
    return [experiment.experiment_id for experiment in client.search_experiments()]


def _named(runs: list[Run]) -> str:
    named = [f"{run.info.run_id[:SHOWN]} ({printable(str(run.info.run_name))})" for run in runs[:MOST]]
    return ", ".join([*named, *(["..."] if len(runs) > MOST else [])])


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
