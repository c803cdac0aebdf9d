"""Looking at runs takes no lock, writes nothing, and needs no right to write."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from another_user import another_user

from finesweep.config.run import TrackingConfig
from finesweep.errors import ConfigError, OutputError, StoreError
from finesweep.io import sqlite as sqlite_files
from finesweep.io.sqlite import Copy, readable
from finesweep.provenance.record import history_hash
from finesweep.reproduce.diff import diff_runs
from finesweep.reproduce.export import config_yaml, export
from finesweep.reproduce.recorded_run import load_recorded_run
from finesweep.study.lock import is_locked, study_lock
from finesweep.tracking import open_reader, open_store, start_run
from finesweep.tracking.store import experiment_id

RECORD = json.loads((Path(__file__).parent.parent / "provenance" / "record_0_1.json").read_text())


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that every user can reach."""
    with TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder, "50% of a project")


def recorded(place: Path) -> tuple[str, TrackingConfig]:
    """Makes a store in `place` with one finished run. Returns its id, and where it is."""
    tracking = TrackingConfig(f"sqlite:///{place}/mlflow.db", artifacts=str(place / "artifacts"))
    experiment_id(tracking, "demo")
    tracked = start_run(
        tracking, "demo", "trial-0000", {"finesweep.kind": "run", "finesweep.state": "COMPLETE"}
    )
    tracked.log_metrics({"best_value": 0.5}, step=2)
    results = {"metrics": ["best_value"], "metrics_sha256": history_hash({("best_value", 2): 0.5})}
    record = RECORD | {"results": RECORD["results"] | results}
    tracked.log_text(json.dumps(record), "provenance.json")
    return tracked.run_id, tracking


def without_log(place: Path) -> None:
    """Leaves the database as its last program does that closes it: without `-wal`, `-shm` and locks."""
    content = sqlite3.connect(place / "mlflow.db")
    content.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content.close()
    for path in place.glob("mlflow.db?*"):
        path.unlink()
    sqlite_files._in_use.clear()  # as in a process that has not written it


def listing(place: Path) -> dict[str, tuple[int, bytes]]:
    """The files, but for the index of the log, in which readers note where they are."""
    files = (path for path in place.rglob("*") if path.is_file() and not path.name.endswith("-shm"))
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def look(run_id: str, tracking: TrackingConfig, target: Path) -> None:
    """Does what `diff`, `best --yaml` and `export` do, and compares with what was recorded."""
    run = load_recorded_run(run_id, tracking)
    assert (run.name, run.value) == ("trial-0000", 0.5)
    assert diff_runs(run, run).differences == []
    assert "learning_rate" in config_yaml(run)
    assert export(run, target, tracking) == ["checkpoint", "submission"]
    assert json.loads((target / "run.json").read_text())["metrics"][0]["value"] == 0.5


@pytest.mark.parametrize("live", [True, False])
def test_readers_leave_every_file_as_it_is(place: Path, tmp_path: Path, live: bool) -> None:
    run_id, tracking = recorded(place)
    if not live:
        without_log(place)
    before = listing(place)
    look(run_id, tracking, tmp_path / "exported")
    assert listing(place) == before
    assert live or not list(place.glob("mlflow.db?*"))


@pytest.mark.parametrize("live", [True, False])
def test_another_user_looks_at_runs_that_it_cannot_write(
    place: Path, tmp_path: Path, live: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id, tracking = recorded(place)
    look(run_id, tracking, tmp_path / "exported")  # imports everything: that user cannot read the checkout
    if not live:
        without_log(place)
    (place.parent / "own").mkdir()
    os.chmod(place.parent / "own", 0o777)
    monkeypatch.chdir(place.parent)
    before = listing(place)
    with another_user():
        look(run_id, tracking, place.parent / "own" / "exported")
        with pytest.raises(OutputError, match="exported: cannot be written"):
            export(load_recorded_run(run_id, tracking), place / "exported", tracking)
    assert listing(place) == before


def test_a_reader_refuses_to_write(place: Path) -> None:
    _, tracking = recorded(place)
    with pytest.raises(StoreError, match="readonly database"):
        open_reader(tracking).create_experiment("another")
    assert open_store(tracking).get_experiment_by_name("another") is None


def test_a_database_in_use_is_read_in_place_and_one_without_a_log_as_a_copy(place: Path) -> None:
    recorded(place)
    assert readable(place / "mlflow.db") == place / "mlflow.db"
    without_log(place)
    assert readable(place / "mlflow.db").parent != place


def test_what_is_no_store_is_one_clear_error(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.db")
    (tmp_path / "text.db").write_text("no database, but a text that is longer than its header" * 9)
    sqlite3.connect(tmp_path / "empty.db").close()
    for name, problem in (
        ("pipe", "not a regular file"),
        ("text", "file is not a database"),
        ("empty", "not MLf"),
    ):
        with pytest.raises(ConfigError, match=f"tracking.uri: .*{name}.db.*{problem}"):
            load_recorded_run("0" * 32, TrackingConfig(f"sqlite:///{tmp_path}/{name}.db"))


def test_watching_makes_no_lock_file(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/optuna.db"
    assert not is_locked(storage, "a:finish")
    assert not list(tmp_path.iterdir())
    with study_lock(storage, "a:finish"):
        assert is_locked(storage, "a:finish")
    assert not is_locked(storage, "a:finish")


def test_reading_frees_no_lock_of_a_store_that_this_process_writes(place: Path) -> None:
    """SQLite's locks are the process's, and go when it closes the file, by whatever name it opened it."""
    run_id, tracking = recorded(place)
    writer, file = open_store(tracking), Path(tracking.uri.removeprefix("sqlite:///"))
    writer.set_tag(run_id, "before", "1")
    load_recorded_run(run_id, tracking)
    look = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('SELECT count(*) FROM runs').fetchone()"
    subprocess.run([sys.executable, "-c", look, str(file)], check=True)  # the last one would remove the log
    assert file.with_name(f"{file.name}-wal").exists()
    writer.set_tag(run_id, "after", "1")
    with closing(sqlite3.connect(file)) as other:
        keys = other.execute("SELECT key FROM tags WHERE key IN ('before', 'after')").fetchall()
    assert sorted(keys) == [("after",), ("before",)]


def test_a_copy_of_a_database_that_is_written_meanwhile_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, writes, copyfile = tmp_path / "a.db", [b"1", b"2"], shutil.copyfile

    def written_meanwhile(source: Path, target: Path) -> None:
        copyfile(source, target)
        if writes:
            file.write_bytes(file.read_bytes() + writes.pop())

    file.write_bytes(b"0")
    monkeypatch.setattr(sqlite_files.shutil, "copyfile", written_meanwhile)
    assert Copy(file).renewed().read_bytes() == b"021"


def test_a_database_that_is_read_in_place_is_not_opened_by_itself_again(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded(place)
    file = place / "mlflow.db"
    sqlite_files._in_use.clear()
    assert readable(file) == file
    monkeypatch.delattr(sqlite_files, "_in_wal_mode")  # which opens the file
    assert readable(file) == file
