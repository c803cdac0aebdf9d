"""A file or a folder is written whole or not at all, and an older one stays until then."""

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from finesweep.io.atomic import staged, write_text
from finesweep.io.sqlite import create_database, has_table

WRITE_AND_DIE = """
import os, signal, sys
from pathlib import Path
from finesweep.io.atomic import staged
with staged(Path(sys.argv[1]), folder=sys.argv[2] == "folder") as staging:
    (staging / "part" if staging.is_dir() else staging).write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_kill_leaves_an_unfinished_name_and_the_target_as_it_was(kind: str, tmp_path: Path) -> None:
    target = tmp_path / "target"
    if kind == "file":
        target.write_text("whole")
    done = subprocess.run([sys.executable, "-c", WRITE_AND_DIE, str(target), kind])
    assert done.returncode == -signal.SIGKILL
    names = {path.name for path in tmp_path.iterdir()} - {"target"}
    assert len(names) == 1 and names.pop().startswith(".staging-target-")
    assert target.read_text() == "whole" if kind == "file" else not target.exists()


def test_an_error_removes_what_was_staged_and_keeps_the_older_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("older")
    with pytest.raises(KeyboardInterrupt), staged(tmp_path / "file") as staging:
        staging.write_text("half")
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "older"


def test_a_folder_that_holds_something_is_replaced_only_on_request(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    target.mkdir()
    (target / "older").touch()
    with pytest.raises(OSError, match="not empty"), staged(target, folder=True) as staging:
        (staging / "newer").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["folder", "older"]
    with staged(target, folder=True, replace_folder=True) as staging:
        (staging / "newer").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["folder", "newer"]


def test_everything_is_readable_as_the_umask_says(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "file", "text")
        with staged(tmp_path / "folder", folder=True, sync=True) as staging:
            (staging / "private").touch(mode=0o600)
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.rglob("*")}
    assert modes == {"file": 0o640, "folder": 0o750, "private": 0o640}


def make_table(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE studies (id INTEGER)")


def test_a_database_is_created_whole_and_unfinished_ones_go(tmp_path: Path) -> None:
    for name in (".staging-a.db-x", ".staging-a.db-x-journal", ".staging-b.db-x"):
        (tmp_path / name).touch()
    create_database(tmp_path / "a.db", make_table)
    assert has_table(tmp_path / "a.db", "studies")
    assert not has_table(tmp_path / "a.db", "experiments")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".staging-b.db-x", "a.db"]
