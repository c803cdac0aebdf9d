"""A TAB completes what only a store knows, and leaves no space behind a key that wants its value."""

import os
import pty
import shutil
import subprocess
from pathlib import Path

import pytest
from click.shell_completion import CompletionItem
from sweeping import STORAGE, evaluate, runs, sweep

from finesweep.cli.completing import Bash
from finesweep.cli.main import COMPLETION, finesweep

BASH = shutil.which("bash")
# Answers a TAB with a key, and otherwise says what it was given.
STUB = """#!/bin/sh
if [ -n "$_FINESWEEP_COMPLETE" ]; then echo plain,data.path=; else echo "<$*>"; fi
"""


def completed(*words: str) -> list[CompletionItem]:
    """What a TAB offers for the last word."""
    *before, last = words
    return Bash(finesweep, {}, "finesweep", COMPLETION).get_completions(before, last)


def names(*words: str) -> list[str]:
    return [item.value for item in completed(*words) if item.type == "plain"]


@pytest.mark.usefixtures("no_finish")
def test_studies_and_runs_are_completed() -> None:
    sweep(lambda _, trial: evaluate(trial, [0.5]), "hydra.sweeper.study.n_trials=1")
    (run_id,) = (run.info.run_id for run in runs().values() if "trial" in run.info.run_name)
    here = ("--storage", STORAGE)
    for verb in ("status", "best", "runs", "report", "submit", "worker", "register", "stop", "try", "extend"):
        assert names(verb, *here, "qui") == ["quickstart"]
        assert names(verb, *here, "other") == []
    assert names("reproduce", *here, "--best", "") == ["quickstart"]
    assert names("predict", *here, "") == ["quickstart", run_id]
    assert names("reproduce", *here, run_id[:4]) == [run_id]


def test_where_there_is_no_store_a_tab_offers_files_or_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    assert completed("status", "") == []
    for verb in ("predict", "reproduce", "export", "diff"):
        assert [item.type for item in completed(verb, "x")] == ["file"]
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(BASH is None, reason="no bash on this machine")
def test_bash_puts_no_space_behind_a_key(own_folder: Path) -> None:
    stub = own_folder / "finesweep"
    stub.write_text(STUB)
    stub.chmod(0o755)
    (own_folder / "setup").write_text(Bash(finesweep, {}, "finesweep", COMPLETION).source())
    script = b"PATH=$PWD:$PATH\nsource setup\nfinesweep train da\trows.csv\n"
    assert "<train data.path=rows.csv>" in typed_into_bash(script, until=">\r\n")


def typed_into_bash(keys: bytes, until: str) -> str:
    terminal, its = pty.openpty()
    bash = subprocess.Popen(
        [str(BASH), "--norc", "--noprofile", "-i"], stdin=its, stdout=its, stderr=its, start_new_session=True
    )
    os.close(its)
    try:
        os.write(terminal, keys)
        seen = ""
        while until not in seen:
            seen += os.read(terminal, 4096).decode(errors="replace")
        return seen
    finally:
        bash.kill()
        bash.wait()
        os.close(terminal)
