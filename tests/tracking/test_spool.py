"""What MLflow's store cannot take is kept, in order, until it can be delivered; nothing else waits for it."""

import errno
import json
import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from mlflow.exceptions import RestException

from finesweep.errors import StoreAway
from finesweep.hooks import RunState
from finesweep.io import atomic
from finesweep.study import unwritten
from finesweep.study.records import Outcome
from finesweep.tracking import spool as spools
from finesweep.tracking.spool import Spool, Undeliverable


def filled(folder: Path, *kinds: str) -> Spool:
    spool = Spool(folder, "run")
    for kind in kinds:
        spool.append(kind, {}, "it is away")
    return spool


def kinds(spool: Spool, suffix: str = ".jsonl") -> list[str]:
    file = spool.file.with_suffix(suffix)
    return [json.loads(line)["kind"] for line in file.read_text().splitlines()] if file.exists() else []


@pytest.mark.parametrize(
    "error",
    [
        sqlite3.OperationalError("database or disk is full"),
        sqlite3.OperationalError("attempt to write a readonly database"),
        OSError(errno.ENOSPC, "No space left on device"),
        RestException({"error_code": "UNAUTHENTICATED", "message": "token expired"}),
    ],
)
def test_an_error_of_the_store_throws_nothing_away(tmp_path: Path, error: Exception) -> None:
    spool = filled(tmp_path, "params", "metrics", "close")

    def send(kind: str, values: dict[str, Any]) -> None:
        if kind != "params":
            raise error

    with pytest.raises(type(error)):
        spool.deliver(send)
    assert kinds(spool) == ["metrics", "close"]


def test_only_what_can_never_be_delivered_is_set_aside_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spool, sent = filled(tmp_path, "params", "metrics", "close"), []

    def send(kind: str, values: dict[str, Any]) -> None:
        if kind == "metrics":
            raise Undeliverable("refused")
        sent.append(kind)

    spool.deliver(send)
    assert sent == ["params", "close"]
    assert kinds(spool, ".refused") == ["metrics"]
    assert "1 writes can never be delivered" in caplog.text
    assert spools.spooled_runs(tmp_path) == []


def test_a_write_that_was_cut_off_takes_no_other_with_it(tmp_path: Path) -> None:
    spool, sent = filled(tmp_path, "metrics"), []
    with spool.file.open("a") as file:
        file.write('{"kind": "para')
    spool.append("close", {}, "it is away")
    spool.deliver(lambda kind, values: sent.append(kind))
    assert sent == ["metrics", "close"]


def test_nobody_waits_for_a_delivery_to_append_and_the_order_stays(tmp_path: Path) -> None:
    spool, sent = filled(tmp_path, "params"), []

    def send(kind: str, values: dict[str, Any]) -> None:
        sent.append(kind)
        if kind == "params":
            with pytest.raises(StoreAway, match="another process is delivering"):
                Spool(tmp_path, "run").deliver(send, wait=False)
            Spool(tmp_path, "run").append("close", {}, "another delivers")
            Spool(tmp_path, "other").append("tags", {}, "it is away")

    spool.deliver(send)
    assert sent == ["params", "close"]
    assert spools.spooled_runs(tmp_path) == ["other"]


def test_what_is_kept_is_on_the_disk_with_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(os, "fsync", lambda file: synced.append(Path(os.readlink(f"/proc/self/fd/{file}"))))
    spool = filled(tmp_path, "params")
    assert synced == [spool.file, tmp_path]
    synced.clear()
    unwritten.keep(tmp_path, Outcome(RunState.COMPLETE, [0.5]))
    assert tmp_path in synced
    assert atomic.STAGING in synced[0].name
