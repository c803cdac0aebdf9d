"""A run's provenance on its way into MLflow: before it trains, and again with its results."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from finesweep.config import RunConfig
from finesweep.errors import ConfigError
from finesweep.files import write_text
from finesweep.inputs import Inputs
from finesweep.provenance import FILE, Provenance, collect
from finesweep.provenance.code import find_checkout
from finesweep.provenance.differences import while_interrupted
from finesweep.provenance.record import results, tags
from finesweep.tracking import TrackedRun


def log_ground(
    config: RunConfig, overrides: Sequence[str], inputs: Inputs, tracked: TrackedRun
) -> Provenance:
    """What the run is made of and with, before it trains: a run that fails has it too."""
    record = collect(config, overrides, inputs)
    tracked.log_text(record.to_json(), FILE)
    tracked.log_text(record.constraints(), "constraints.txt")
    if patch := find_checkout().patch:
        tracked.log_text(patch, "git.diff")
    tracked.set_tags(tags(record))
    return record


def log_results(record: Provenance, tracked: TrackedRun, found: dict[str, Any]) -> None:
    record.results = results(tracked.history, found)
    tracked.log_text(record.to_json(), FILE)
    tracked.set_tags(tags(record))


def note_ground(record: Provenance, folder: Path, resumes: bool) -> None:
    """Leaves the record beside the checkpoints: whoever goes on from them says what has changed since."""
    file = folder / FILE
    if resumes and file.is_file():
        with suppress(ConfigError):  # of another schema: what it says is not known here
            earlier = Provenance.from_json(file.read_text(encoding="utf-8"), str(file))
            record.mixed = while_interrupted(earlier, record)
    write_text(file, record.to_json())
