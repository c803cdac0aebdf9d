"""The spool: what MLflow's store could not take yet; a file for each run, delivered later and in order."""

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from finesweep.errors import StoreAway
from finesweep.io.atomic import flush, write_text
from finesweep.io.locks import file_lock
from finesweep.io.reading import decode

log = logging.getLogger(__name__)

Send = Callable[[str, dict[str, Any]], None]  # writes one entry into the store: its kind and its values


class Undeliverable(Exception):
    """No later attempt can deliver this write."""


class Spool:
    """The file of one run: one JSON line for each write, oldest first.

    One process at a time delivers; the file's own lock is held only while it is read or changed, so nobody
    waits for MLflow to append. A write may be delivered twice, after a kill in between; MLflow takes each of
    them twice without harm. What can never be delivered is moved to `RUN.refused`, which nothing reads.
    """

    def __init__(self, folder: Path, run_id: str) -> None:
        self.file, self.run_id = folder / f"{run_id}.jsonl", run_id

    @property
    def is_empty(self) -> bool:
        return not self.file.is_file()  # a named pipe in its place would be waited for

    def append(self, kind: str, values: dict[str, Any], why: str) -> None:
        """Appends a write, and syncs it to the disk. why: what keeps it from being delivered."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        if self.is_empty:
            log.warning("run %s: writes to MLflow are kept in %s until they can be delivered: %s",
                        self.run_id, self.file, why)  # fmt: skip
        with self._lock():
            _append(self.file, json.dumps({"kind": kind, **values}))

    def deliver(self, send: Send, wait: bool = True) -> None:
        """Sends all writes and removes the file; keeps those from the first one that could not be sent.

        send: raises Undeliverable for a write that is to be set aside.
        Raises: StoreAway if another process is delivering and `wait` is False; what else `send` raises.
        """
        try:
            with file_lock(self.file.with_name("delivery.lock"), -1 if wait else 0):
                while lines := self._lines():
                    self._deliver(lines, send)
        except Timeout as error:
            raise StoreAway(f"run {self.run_id}: another process is delivering to MLflow") from error

    def _deliver(self, lines: list[str], send: Send) -> None:
        done = 0
        refused: dict[str, str] = {}  # line -> why
        try:
            for line in lines:
                try:
                    _send(line, send)
                except Undeliverable as error:
                    refused[line] = str(error)
                done += 1
        finally:
            self._set_aside(refused)
            self._cut(done)

    def _set_aside(self, refused: dict[str, str]) -> None:
        if not refused:
            return
        file = self.file.with_suffix(".refused")
        with self._lock():
            for line in refused:
                _append(file, line)
        log.warning("run %s: %d writes can never be delivered to MLflow and stay in %s: %s",
                    self.run_id, len(refused), file, next(iter(refused.values())))  # fmt: skip

    def _cut(self, done: int) -> None:
        """Removes the first lines. Others have appended since those were read; nobody else removes any."""
        with self._lock():
            if rest := self._read()[done:]:
                write_text(self.file, "\n".join(rest) + "\n", sync=True)
            else:
                self.file.unlink(missing_ok=True)

    def _lines(self) -> list[str]:
        with self._lock():
            return self._read()

    def _read(self) -> list[str]:
        return [] if self.is_empty else self.file.read_text("utf-8", errors="replace").splitlines()

    def _lock(self) -> FileLock:
        return file_lock(self.file.with_name("spool.lock"))


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


def _send(line: str, send: Send) -> None:
    try:
        entry = decode(line)
        kind = entry.pop("kind")
    except (ValueError, KeyError, AttributeError, TypeError) as error:  # a write that a kill cut off
        raise Undeliverable(f"damaged: {line:.200}") from error
    send(kind, entry)


def _append(path: Path, line: str) -> None:
    """Appends a line and syncs it. A line before that a kill cut off does not take it along."""
    with path.open("ab+") as file:
        if is_new := file.seek(0, os.SEEK_END) == 0:
            is_torn = False
        else:
            file.seek(-1, os.SEEK_END)
            is_torn = file.read(1) != b"\n"
        file.write(b"\n" * is_torn + line.encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    if is_new:
        flush(path.parent)


def spooled_runs(folder: Path) -> list[str]:
    """Lists the ids of the runs that have something to deliver."""
    return sorted(file.stem for file in folder.glob("*.jsonl") if file.is_file())
