"""A record is data: a function that it names is imported only if the command names it, too."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from labelled import scores

from finesweep.config.run import TrackingConfig
from finesweep.errors import RunError
from finesweep.provenance.record import Provenance
from finesweep.reproduce.readme import readme
from finesweep.reproduce.rebuild import rebuild
from finesweep.reproduce.recorded_run import RecordedRun

RECORD: dict[str, Any] = json.loads(
    (Path(__file__).parent.parent / "provenance" / "record_0_1.json").read_text()
)


@pytest.fixture
def own_run(own_folder: Path) -> RecordedRun:
    """A run of this project whose metric is a function in the working folder, which leaves a trace."""
    (own_folder / "stranger.py").write_text("open('trace', 'w')\ndef score(y_true, y_pred): return 1.0\n")
    data = RECORD["config"]["data"] | {"metric": "stranger:score", "direction": "maximize"}
    record = RECORD | {"config": RECORD["config"] | {"data": data}}
    return RecordedRun("0" * 32, "r", "COMPLETE", {}, Provenance.from_json(json.dumps(record), "here"), {})


def test_an_exported_record_imports_nothing_that_the_command_does_not_name(own_run: RecordedRun) -> None:
    exported = replace(own_run, folder=Path("exported"))
    with pytest.raises(
        RunError, match="exported: its record asks for code .* add data.metric=stranger:score"
    ):
        rebuild(exported, ["trainer.threads=1"], TrackingConfig())
    assert not Path("trace").exists() and "stranger" not in sys.modules
    permission = "data.metric=stranger:score"
    assert permission in readme(exported, [])
    assert rebuild(exported, [permission], TrackingConfig()).data.metric == "stranger:score"
    assert rebuild(exported, ["data.metric=accuracy"], TrackingConfig()).data.metric == "accuracy"


def test_a_run_of_ones_own_needs_no_permission(own_run: RecordedRun) -> None:
    assert rebuild(own_run, [], TrackingConfig()).data.metric == "stranger:score"


def test_metrics_in_a_record_name_no_code(own_run: RecordedRun) -> None:
    found = scores([[0, 1], [1, 0]], [1, 0], more=["stranger:score", "brier"])
    assert "brier" in found and "stranger.score" not in found
    assert not Path("trace").exists()
