"""Opens and closes runs: of a training, of a study, of a trial that did not train."""

import getpass
import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count
from typing import Any

from mlflow.entities import Run, ViewType

from finesweep.config.parse import flat, to_yaml
from finesweep.config.places import as_given
from finesweep.config.run import RunConfig, TrackingConfig
from finesweep.errors import ProcessDied
from finesweep.hooks import RunHooks, RunState, TrialLost, TrialPaused, TrialPruned, current_hooks
from finesweep.io.patience import single_attempts
from finesweep.io.redaction import redact_urls
from finesweep.io.terminal import trainer
from finesweep.machine.process import machine_id, this_process
from finesweep.tags import Kind, Tag
from finesweep.tracking.abandoned import kill_abandoned_runs
from finesweep.tracking.deleted import restore_deleted
from finesweep.tracking.store import PatientClient, absolute, experiment_id, open_store
from finesweep.tracking.tracked import RUNNING, TrackedRun, deliver_spooled

# Params of every run, so that runs can be compared; whatever was overridden comes on top.
COMPARED = ("model.name", "optimizer.name", "optimizer.learning_rate", "trainer.num_train_epochs",
            "trainer.per_device_train_batch_size", "seed")  # fmt: skip


@contextmanager
def open_run(config: RunConfig, overrides: Sequence[str]) -> Iterator[TrackedRun]:
    """Opens a run with the current hooks, or a plain one; closes it in the state that the body ends in.

    What the store could not take is delivered at the end; a sweep does that later, so that no trial waits.
    """
    hooks = current_hooks.get()
    name = hooks.run_name if hooks else f"{config.model.name}-{time.strftime('%m%d-%H%M%S')}"
    tags = {Tag.KIND: Kind.RUN} if hooks is None else {Tag.KIND: Kind.TRIAL} | hooks.tags
    kill_abandoned_runs(config.tracking)
    tracked = start_run(config.tracking, config.data.name, name, tags)
    monitor = ExitStack()
    try:
        if hooks:
            hooks.started(tracked.run_id)
        _watch_system(config, tracked, monitor)
        tracked.log_params(_params(config, overrides))
        tracked.log_text(redact_urls(to_yaml(as_given(config))), "config.yaml")
        yield tracked
    except TrialLost:
        tracked.end(RunState.INTERRUPTED)  # as whoever took the trial over has done, if they saw this run
        raise
    except BaseException as error:
        _end(tracked, hooks, state_of(error), error)
        raise
    else:
        _end(tracked, hooks, RunState.COMPLETE, None)
        if tags[Tag.KIND] != Kind.TRIAL:
            deliver_spooled(tracked.client)
    finally:
        monitor.close()


def state_of(error: BaseException) -> RunState:
    """Returns the state of a run that ends with this error."""
    if isinstance(error, TrialPaused):
        return RunState.PAUSED
    if isinstance(error, TrialPruned):
        return RunState.PRUNED
    interrupts = KeyboardInterrupt, SystemExit, ProcessDied
    return RunState.INTERRUPTED if isinstance(error, interrupts) else RunState.FAIL


def _end(tracked: TrackedRun, hooks: RunHooks | None, state: RunState, error: BaseException | None) -> None:
    """Tells the hooks first: if this process dies right after, the study knows how to close the run."""
    if hooks:
        state = hooks.ending(state, error)
    end = tracked.end_signed_off if hooks else tracked.end
    end(state, f"{type(error).__name__}: {error}" if state is RunState.FAIL else None)


def start_run(config: TrackingConfig, experiment: str, name: str, tags: dict[str, str]) -> TrackedRun:
    """Creates a run; waits for the store. Raises: StoreError."""
    client, experiment = open_store(config), experiment_id(config, experiment)
    process = {Tag.HOST: socket.gethostname(), Tag.PROCESS: str(this_process())}
    if machine := machine_id():
        process[Tag.MACHINE] = machine
    tags = process | tags
    more = {Tag.USER: _user(), Tag.SOURCE_NAME: trainer().removeprefix("python ")}
    attempts = count()

    def create() -> Run:
        # A server may have made the run of an attempt that it did not answer any more.
        with single_attempts():
            made = _same_run(client, experiment, name, tags) if next(attempts) else None
            return made or client.create_run(experiment, run_name=name, tags=more | tags)

    return TrackedRun(client, client.patience.call(create).info.run_id)


def _same_run(client: PatientClient, experiment: str, name: str, tags: dict[str, str]) -> Run | None:
    which = {f"tags.`{key}`": value for key, value in tags.items()}
    which |= {"attributes.run_name": name, "attributes.status": RUNNING}
    text = " and ".join(f"{key} = '{value}'" for key, value in which.items())
    return next(iter(client.search_runs([experiment], text, max_results=1)), None)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _params(config: RunConfig, overrides: Sequence[str]) -> dict[str, str]:
    values = flat(as_given(config))
    keys = [*COMPARED, *(text.lstrip("+~").partition("=")[0] for text in overrides)]
    chosen = {key: redact_urls(str(values[key])) for key in keys if key in values}
    return {"data": config.data.name} | chosen


def _watch_system(config: RunConfig, tracked: TrackedRun, monitor: ExitStack) -> None:
    if config.tracking.system_metrics:
        from finesweep.tracking.system_metrics import system_metrics  # heavy, and often off

        monitor.enter_context(system_metrics(tracked.run_id, absolute(config.tracking.uri)))


def record_run(config: TrackingConfig, experiment: str, name: str, tags: dict[str, str]) -> TrackedRun:
    """Opens a run for a trial that does not train: it failed early, or its point is known.

    The caller ends it.
    """
    return start_run(config, experiment, name, {Tag.KIND: Kind.TRIAL} | tags)


def open_study_run(config: TrackingConfig, experiment: str, study: str, params: dict[str, Any]) -> TrackedRun:
    """Finds the study's parent run by its tag and sets it RUNNING again, or creates it.

    A parent that was deleted in the UI is restored: its trials' runs name it.
    """
    client = open_store(config)
    text = f"tags.`{Tag.KIND}` = '{Kind.STUDY}' and tags.`{Tag.STUDY}` = '{study}'"
    where = [experiment_id(config, experiment)]
    runs = client.search_runs(where, text, max_results=1) or client.search_runs(
        where, text, run_view_type=ViewType.DELETED_ONLY, max_results=1
    )
    if runs and restore_deleted(config, [runs[0].info.run_id]):
        client.update_run(runs[0].info.run_id, status=RUNNING)
        return TrackedRun(client, runs[0].info.run_id)
    tracked = start_run(config, experiment, study, {Tag.KIND: Kind.STUDY, Tag.STUDY: study})
    tracked.log_params(params)
    return tracked
