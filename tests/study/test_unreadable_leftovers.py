"""What a killed process left for others, and may be damaged: it is used or passed over, never waited for."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from damage import files, one_thing_wrong
from hypothesis import given, settings
from hypothesis import strategies as st

from finesweep.hooks import RunState
from finesweep.study import unwritten
from finesweep.study.liveness import this_owner
from finesweep.study.records import Outcome
from finesweep.tracking.spool import Spool, spooled_runs

OUTCOME = Outcome(RunState.COMPLETE, values=[0.5], checkpoint="checkpoint")
KEPT = {"owner": this_owner(), "outcome": OUTCOME.dump()}


def record(folder: Path) -> Any:
    return SimpleNamespace(folder=str(folder), owner=this_owner())


@given(content=files | one_thing_wrong(KEPT))
@settings(max_examples=40)
def test_any_kept_outcome_is_read_or_passed_over(tmp_path: Path, content: bytes) -> None:
    (tmp_path / unwritten.FILE).write_bytes(content)
    found = unwritten.read(record(tmp_path))
    assert found is None or isinstance(found, Outcome)


@given(content=files, at=st.sampled_from(["before", "after"]))
@settings(max_examples=40)
def test_a_damaged_line_of_the_spool_holds_up_no_other(tmp_path: Path, content: bytes, at: str) -> None:
    spool, sent = Spool(tmp_path, "run"), []
    spool.append("metrics", {"step": 1})
    good = spool.file.read_bytes()
    spool.file.write_bytes(content + b"\n" + good if at == "before" else good + content)
    spool.deliver(lambda kind, values: sent.append((kind, values)))
    assert ("metrics", {"step": 1}) in sent
    assert spool.is_empty and not spool.file.exists()


def test_named_pipes_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / unwritten.FILE)
    os.mkfifo(tmp_path / "run.jsonl")
    assert unwritten.read(record(tmp_path)) is None
    assert Spool(tmp_path, "run").is_empty
    assert spooled_runs(tmp_path) == []
