"""A record from elsewhere, whatever it holds: it is loaded, or refused in one clear error."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from damage import files, one_thing_wrong
from hypothesis import given, settings
from omegaconf.errors import OmegaConfBaseException

from finesweep.config.run import TrackingConfig
from finesweep.errors import ConfigError, FinesweepError, RunError
from finesweep.provenance.record import Provenance, history_hash
from finesweep.reproduce import diff
from finesweep.reproduce.export import config_yaml
from finesweep.reproduce.readme import readme
from finesweep.reproduce.rebuild import rebuild
from finesweep.reproduce.recorded_run import load_recorded_run

RECORD: dict[str, Any] = json.loads(
    (Path(__file__).parent.parent / "provenance" / "record_0_1.json").read_text()
)
HISTORY = {("best_value", 2): 0.5, ("eval_accuracy", 2): 0.5}
RECORD["results"]["metrics_sha256"] = history_hash(HISTORY)
RUN = {
    "run_id": "0" * 32, "name": "trial-0001", "state": "COMPLETE",
    "tags": {"finesweep.kind": "trial", "finesweep.study": "s", "finesweep.trial": "1"},
    "metrics": [{"name": name, "step": step, "value": value} for (name, step), value in HISTORY.items()],
}  # fmt: skip


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    folder = tmp_path / "exported"
    folder.mkdir()
    (folder / "provenance.json").write_text(json.dumps(RECORD))
    (folder / "run.json").write_text(json.dumps(RUN))
    return folder


def use(folder: Path) -> None:
    """Does with a folder what the verbs do before they train. Raises: FinesweepError, OmegaConf's errors."""
    recorded = load_recorded_run(str(folder), TrackingConfig())
    recorded.check_finished()
    rebuild(recorded, [], TrackingConfig())
    readme(recorded, [])
    config_yaml(recorded)
    diff.lines(diff.diff_runs(recorded, recorded), ("a", "b")).encode()


def test_a_good_folder_can_be_used(exported: Path) -> None:
    use(exported)


@given(content=files | one_thing_wrong(RUN))
@settings(max_examples=40)
def test_any_run_file_is_used_or_refused(exported: Path, content: bytes) -> None:
    (exported / "run.json").write_bytes(content)
    try:
        use(exported)
    except FinesweepError as error:
        assert "run" in str(error)


@given(content=files | one_thing_wrong(RECORD))
@settings(max_examples=40)
def test_any_record_is_used_or_refused(exported: Path, content: bytes) -> None:
    (exported / "provenance.json").write_bytes(content)
    try:
        use(exported)
    except (FinesweepError, OmegaConfBaseException) as error:
        assert str(error)


@pytest.mark.parametrize(
    ("group", "key", "value"),
    [("data", "labels", 5), ("optimizer", "learning_rate", 10**400), ("trainer", "threads", "many"),
     ("data", "labels", {"a": "${x"}), ("model", "dropout", [[1]])],
)  # fmt: skip
def test_a_config_with_an_odd_value_is_refused(exported: Path, group: str, key: str, value: object) -> None:
    record = json.loads(json.dumps(RECORD))
    record["config"][group][key] = value
    (exported / "provenance.json").write_text(json.dumps(record))
    with pytest.raises((FinesweepError, OmegaConfBaseException)):
        use(exported)


@given(content=files)
def test_what_is_no_record_is_refused_by_its_place(content: bytes) -> None:
    with pytest.raises(ConfigError, match="^here: "):
        Provenance.from_json(content.decode("utf-8", "replace"), "here")


@pytest.mark.parametrize("name", ["run.json", "provenance.json"])
@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to(path)])
def test_what_is_no_file_is_not_waited_for(exported: Path, name: str, make: Callable[[Path], None]) -> None:
    (exported / name).unlink()
    make(exported / name)
    with pytest.raises(RunError, match=f"no folder that `finesweep export` made .*{name}: is not a regular"):
        load_recorded_run(str(exported), TrackingConfig())


def test_a_records_readme_holds_no_command_of_the_records_own(exported: Path) -> None:
    record, run = json.loads(json.dumps(RECORD)), json.loads(json.dumps(RUN))
    record["code"]["commit"] = "main; touch pwned"
    record["machine"]["cpu"] = record["packages"]["torch"] = "a`\n\n```bash\ntouch pwned\n```"
    record["config"]["data"]["path"] = "$(touch pwned)"
    run["name"] = run["tags"]["finesweep.study"] = "x`\n```bash\ntouch pwned"
    (exported / "provenance.json").write_text(json.dumps(record))
    (exported / "run.json").write_text(json.dumps(run))
    text = readme(load_recorded_run(str(exported), TrackingConfig()), [])
    (commands,) = [part.partition("```")[0] for part in text.split("```bash")[1:]]
    assert "git checkout COMMIT  #" in commands
    assert [line for line in commands.splitlines() if "touch" in line] == [
        "finesweep reproduce DIR 'data.path=$(touch pwned)'"
    ]
