"""The spool: what MLflow's store could not take yet; a file for each run, delivered later and in order."""

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import FileLock

from finesweep.io.atomic import write_text
from finesweep.io.patience import describe, is_away

log = logging.getLogger(__name__)

Send = Callable[[str, dict[str, Any]], None]  # writes one entry into the store: its kind and its values


class Spool:
    """The file of one run: one JSON line for each write, oldest first.

    A write may be delivered twice, after a kill in between; MLflow takes each of them twice without harm.
    """

    def __init__(self, folder: Path, run_id: str) -> None:
        self.file, self.run_id = folder / f"{run_id}.jsonl", run_id

    @property
    def is_empty(self) -> bool:
        return not self.file.is_file()  # a named pipe in its place would be waited for

    def append(self, kind: str, values: dict[str, Any]) -> None:
        """Appends a write, and syncs it to the disk."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        if self.is_empty:
            log.warning("run %s: writes to MLflow are kept in %s until they can be delivered",
                        self.run_id, self.file)  # fmt: skip
        with self._lock(), self.file.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps({"kind": kind, **values}) + "\n")
            lines.flush()
            os.fsync(lines.fileno())

    def deliver(self, send: Send) -> None:
        """Sends all writes and removes the file. Raises: what `send` raises if the store is away again.

        A write that the store refuses for any other reason is dropped with a warning, or it would hold up
        all others for good.
        """
        with self._lock():
            lines = (
                [] if self.is_empty else self.file.read_text(encoding="utf-8", errors="replace").split("\n")
            )
            try:
                while lines:
                    if lines[0]:
                        self._send(lines[0], send)
                    del lines[0]
            finally:
                if lines:
                    write_text(self.file, "\n".join(filter(None, lines)) + "\n")
                else:
                    self.file.unlink(missing_ok=True)

    def _send(self, line: str, send: Send) -> None:
        try:
            entry = json.loads(line)
            send(entry.pop("kind"), entry)
        except Exception as error:
            if is_away(error):
                raise
            log.warning(
                "run %s: cannot be delivered to MLflow: %s: %.200s", self.run_id, describe(error), line
            )

    def _lock(self) -> FileLock:
        return FileLock(self.file.with_name("spool.lock"))


def carry(old: Path, new: Path, place: Callable[[str], str]) -> None:
    """Takes over the spool of a store that was moved; `place` says where a file of then is now."""
    if not old.is_dir():
        return
    for file in old.glob("*.jsonl"):
        entries = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        placed = [entry | {"path": place(entry["path"])} if "path" in entry else entry for entry in entries]
        new.mkdir(exist_ok=True)
        write_text(new / file.name, "".join(f"{json.dumps(entry)}\n" for entry in placed))
        file.unlink()


def spooled_runs(folder: Path) -> list[str]:
    """Lists the ids of the runs that have something to deliver."""
    return sorted(file.stem for file in folder.glob("*.jsonl") if file.is_file())
