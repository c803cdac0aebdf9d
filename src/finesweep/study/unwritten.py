"""The outcome of a trial that the storage could not take: it waits in the trial's folder for a recovery."""

import json
from contextlib import suppress
from pathlib import Path

from finesweep.io.atomic import write_text
from finesweep.io.reading import read_object
from finesweep.study.liveness import this_owner
from finesweep.study.places import Places
from finesweep.study.records import Outcome, TrialRecord

FILE = "outcome.json"


def keep(folder: Path, outcome: Outcome) -> None:
    """Writes the outcome of a trial of this process."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / FILE, json.dumps({"owner": this_owner(), "outcome": outcome.dump()}) + "\n")


def read(record: TrialRecord, places: Places) -> Outcome | None:
    """Returns what the trial's owner has kept; None if that is nothing, or cannot be read."""
    if record.folder is None:
        return None
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        kept = read_object(places.find(record.folder) / FILE)
        if kept["owner"] == record.owner:
            return Outcome.load(kept["outcome"])
    return None
