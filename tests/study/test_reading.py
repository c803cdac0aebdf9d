"""Looking at a study takes no lock and no right to write."""

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import optuna
import pytest
from another_user import another_user
from sweeping import STORAGE

from finesweep.errors import ConfigError, StoreError, StudyError
from finesweep.io import sqlite
from finesweep.study.reading import read_study
from finesweep.study.storage import open_storage


@pytest.fixture
def folder(own_folder: Path) -> Path:
    """A folder with a study of one trial, whose writer is still there; so its newest rows are in the log."""
    study = optuna.create_study(storage=open_storage(STORAGE), study_name="a")
    study.add_trial(optuna.trial.create_trial(value=0.5))
    for lock in (own_folder / "mlruns").glob("*.lock"):
        lock.unlink()
    return own_folder / "mlruns"


def test_a_reader_takes_no_lock_and_writes_nothing(folder: Path) -> None:
    read = read_study("a", STORAGE)
    assert [trial.value for trial in read.trials] == [0.5]
    assert not list(folder.glob("*.lock"))
    with pytest.raises(StoreError, match="cannot be used.*readonly"):
        read.set_user_attr("a", 1)


def test_a_study_on_a_read_only_mount_is_read_with_its_newest_rows(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_table = sqlite.has_table

    def refused(path: Path, table: str) -> bool:
        if path.parent == folder.resolve():
            raise sqlite3.OperationalError("unable to open database file")
        return has_table(path, table)

    monkeypatch.setattr(sqlite, "has_table", refused)
    read = read_study("a", STORAGE)
    assert [trial.value for trial in read.trials] == [0.5]
    writer = optuna.load_study(storage=open_storage(STORAGE), study_name="a")
    writer.add_trial(optuna.trial.create_trial(value=0.6))
    assert [trial.value for trial in read.trials] == [0.5, 0.6]  # who watches it sees it go on


def test_another_user_reads_a_study_that_it_cannot_write(folder: Path) -> None:
    with TemporaryDirectory() as place:
        for path in (folder / "optuna.db", folder / "optuna.db-wal"):
            shutil.copy(path, place)
            os.chmod(Path(place, path.name), 0o444)
        os.chmod(place, 0o555)
        with another_user():
            study = read_study("a", f"sqlite:///{place}/optuna.db")
            assert [trial.value for trial in study.trials] == [0.5]
        assert sorted(os.listdir(place)) == ["optuna.db", "optuna.db-wal"]


def test_what_cannot_be_read_is_one_clear_error(folder: Path) -> None:
    with pytest.raises(StudyError, match="study 'b': not in .*; there: a;"):
        read_study("b", STORAGE)
    (folder / "no.db").write_text("no database, but a text that is longer than its header" * 9)
    with pytest.raises(ConfigError, match="cannot read 'sqlite:///mlruns/no.db': file is not a database"):
        read_study("a", "sqlite:///mlruns/no.db")


@pytest.mark.parametrize(
    ("change", "missing"),
    [
        ("ALTER TABLE trials DROP COLUMN datetime_start", "column trials.datetime_start"),
        ("DROP TABLE trial_params", "table trial_params"),
    ],
)
def test_changed_tables_are_one_clear_error(folder: Path, change: str, missing: str) -> None:
    with closing(sqlite3.connect(folder / "optuna.db")) as connection:
        connection.execute(change)
        connection.commit()
    with pytest.raises(ConfigError, match=f"has no {missing}, which Optuna"):
        read_study("a", STORAGE)


def test_a_database_of_a_newer_optuna_is_one_clear_error(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "optuna.db")) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'v9.9.9'")
        connection.commit()
    with pytest.raises(ConfigError, match="cannot read .* no longer compatible with the table schema"):
        read_study("a", STORAGE)
    with pytest.raises(ConfigError, match="cannot open .* no longer compatible with the table schema"):
        open_storage(STORAGE)
