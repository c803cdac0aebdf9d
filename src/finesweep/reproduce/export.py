"""Writes a run to a folder, from which a machine that has the data and the base model can reproduce it."""

from pathlib import Path
from typing import Any

import yaml

from finesweep.config.parse import literal
from finesweep.config.run import TrackingConfig
from finesweep.errors import ModelError, RunError
from finesweep.io import checkpoint
from finesweep.io.atomic import remove
from finesweep.io.output import new_folder
from finesweep.io.redaction import HIDDEN
from finesweep.io.terminal import printable
from finesweep.provenance.record import FILE
from finesweep.reproduce.readme import readme
from finesweep.reproduce.recorded_run import CONFIG, RUN_FILE, RecordedRun
from finesweep.tracking import TrackedRun, open_reader

PARTS = ("checkpoint", "submission", "git.diff")  # the run's artifacts that are exported, if it has them


def export(recorded: RecordedRun, folder: Path, tracking: TrackingConfig) -> list[str]:
    """Writes `folder`, whole or not at all. Returns the `PARTS` that the run has not kept.

    Raises: OutputError if `folder` is not empty, or cannot be written; RunError if the run was loaded from a
    folder, or is not finished.
    """
    recorded.check_finished()
    if recorded.folder:
        raise RunError(f"{recorded.folder}: exported already; legal: the id of a run in the MLflow store")
    with new_folder(folder) as staging:
        return _write(recorded, staging, tracking)


def _write(recorded: RecordedRun, folder: Path, tracking: TrackingConfig) -> list[str]:
    tracked = TrackedRun(open_reader(tracking), recorded.run_id)
    missing = []
    for part in PARTS if recorded.record.code.patch_sha256 else PARTS[:2]:
        try:
            tracked.download(part, folder)
        except ModelError:
            missing.append(part)
    if "checkpoint" not in missing and (reason := _damage(folder / "checkpoint", recorded)):
        remove(folder / "checkpoint")
        missing.append(f"checkpoint (it is damaged: {reason})")
    (folder / FILE).write_text(recorded.record.to_json(), encoding="utf-8")
    (folder / RUN_FILE).write_text(recorded.to_json(), encoding="utf-8")
    (folder / f"{CONFIG}.yaml").write_text(config_yaml(recorded), encoding="utf-8")
    (folder / "constraints.txt").write_text(recorded.record.constraints(), encoding="utf-8")
    (folder / "README.md").write_text(readme(recorded, missing), encoding="utf-8")
    return missing


def _damage(folder: Path, recorded: RecordedRun) -> str | None:
    if reason := checkpoint.find_damage(folder):
        return reason
    weights = recorded.record.results.weights_sha256
    return None if checkpoint.weights_sha256(folder) == weights else "its weights are not the recorded ones"


def config_yaml(recorded: RecordedRun) -> str:
    """Returns the run's config as YAML, for `finesweep train --config-dir DIR --config-name NAME`."""
    config: dict[str, Any] = literal(recorded.record.config)  # Hydra resolves what it reads
    if HIDDEN in config["tracking"]["uri"]:  # the password of the store is not recorded
        del config["tracking"]
    name = printable(recorded.name).replace("\n", " ")
    head = f"# Run {recorded.run_id} ({name}); finesweep train --config-dir DIR --config-name NAME\n"
    return head + yaml.safe_dump({"defaults": ["config", "_self_"], **config}, sort_keys=False)
