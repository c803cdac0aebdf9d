"""How a run begins and ends: of a training, of a study, of a trial that did not train."""

import getpass
import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from finesweep.config.parse import flat, to_yaml
from finesweep.config.run import RunConfig, TrackingConfig
from finesweep.hooks import Trial, TrialLost, TrialPruned, current_hooks
from finesweep.io.redaction import redact_urls
from finesweep.tracking.abandoned import kill_abandoned_runs, process_identity
from finesweep.tracking.store import absolute, experiment_id, open_store
from finesweep.tracking.tracked import TrackedRun

# Params of every run, so that runs can be compared; whatever was overridden comes on top.
COMPARED = ("model.name", "optimizer.name", "optimizer.learning_rate", "trainer.num_train_epochs",
            "trainer.per_device_train_batch_size", "seed")  # fmt: skip


@contextmanager
def open_run(config: RunConfig, overrides: Sequence[str]) -> Iterator[TrackedRun]:
    """A run of the current trial, or a plain one. Ends FINISHED, KILLED (pruned, interrupted) or FAILED."""
    trial = current_hooks.get()
    name = trial.run_name if trial else f"{config.model.name}-{time.strftime('%m%d-%H%M%S')}"
    tags = {"finesweep.kind": "run"} if trial is None else {"finesweep.kind": "trial"} | trial.tags
    kill_abandoned_runs(config.tracking)
    tracked = start_run(config.tracking, config.data.name, name, tags)
    monitor = None
    try:
        if trial:
            trial.started(tracked.run_id)
        monitor = _system_monitor(config, tracked)
        tracked.log_params(_params(config, overrides))
        tracked.log_text(redact_urls(to_yaml(config)), "config.yaml")
        yield tracked
    except TrialLost:
        tracked.end("INTERRUPTED")  # as whoever took the trial over has done, if they saw this run
        raise
    except BaseException as error:
        _end(tracked, trial, _state(error), error)
        raise
    else:
        _end(tracked, trial, "COMPLETE", None)
    finally:
        if monitor:
            monitor.finish()


def _state(error: BaseException) -> str:
    if isinstance(error, TrialPruned):
        return "PRUNED"
    return "INTERRUPTED" if isinstance(error, (KeyboardInterrupt, SystemExit)) else "FAIL"


def _end(tracked: TrackedRun, trial: Trial | None, state: str, error: BaseException | None) -> None:
    """The sweep first: if this process dies right after, it knows how the run is to be closed."""
    if trial:
        state = trial.ending(state, error)
    tracked.end(state, f"{type(error).__name__}: {error}" if state == "FAIL" else None)


def start_run(config: TrackingConfig, experiment: str, name: str, tags: dict[str, str]) -> TrackedRun:
    client = open_store(config)
    process = {
        "mlflow.user": _user(),
        "mlflow.source.name": "train.py",
        "finesweep.host": socket.gethostname(),
        "finesweep.process": process_identity(),
    }
    run = client.create_run(experiment_id(config, experiment), run_name=name, tags=process | tags)
    return TrackedRun(client, run.info.run_id)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _params(config: RunConfig, overrides: Sequence[str]) -> dict[str, str]:
    values = flat(config)
    keys = [*COMPARED, *(text.lstrip("+~").partition("=")[0] for text in overrides)]
    chosen = {key: redact_urls(str(values[key])) for key in keys if key in values}
    return {"data": config.data.name} | chosen


def _system_monitor(config: RunConfig, tracked: TrackedRun) -> Any:
    if not config.tracking.system_metrics:
        return None
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    monitor = SystemMetricsMonitor(tracked.run_id, tracking_uri=absolute(config.tracking.uri))
    monitor.start()
    return monitor


def record_run(config: TrackingConfig, experiment: str, name: str, tags: dict[str, str]) -> TrackedRun:
    """A trial that did not train: it failed before it could, or its point was known. The caller ends it."""
    return start_run(config, experiment, name, {"finesweep.kind": "trial"} | tags)


def open_study_run(config: TrackingConfig, experiment: str, study: str, params: dict[str, Any]) -> TrackedRun:
    """The study's parent run: found by its tag and set RUNNING again, or made."""
    client = open_store(config)
    text = f"tags.`finesweep.kind` = 'study' and tags.`finesweep.study` = '{study}'"
    found = client.search_runs([experiment_id(config, experiment)], text, max_results=1)
    if found:
        client.update_run(found[0].info.run_id, status="RUNNING")
        return TrackedRun(client, found[0].info.run_id)
    tracked = start_run(config, experiment, study, {"finesweep.kind": "study", "finesweep.study": study})
    tracked.log_params(params)
    return tracked
