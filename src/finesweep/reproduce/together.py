"""Makes a submission of several checkpoints together again: trains each member, and predicts with all."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from finesweep.config.run import RunConfig, TrackingConfig
from finesweep.config.study import Ensemble
from finesweep.io import checkpoint
from finesweep.reproduce.rebuild import pin, rebuild
from finesweep.reproduce.recorded_run import RecordedRun, load_recorded_run
from finesweep.reproduce.rerun import new_folder, record_verdict, rerun
from finesweep.reproduce.verdict import DIFFERENT, EXACT, Verdict, judge


@dataclass(frozen=True)
class Remade:
    """The document of `finesweep reproduce --submission --json`. Fields may be added, but none removed."""

    verdict: str  # EXACT if all members and all files are
    kind: str  # soup or mean
    members: list[Verdict]
    files: dict[str, dict[str, str | None]]  # SHA-256 `then` and `now`, by name

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def remake(
    kind: Ensemble, run_ids: Sequence[str], files: Mapping[str, str], tracking: TrackingConfig,
    overrides: Sequence[str], tolerance: float,
) -> Remade:  # fmt: skip
    """Trains the members again, and compares the files that they predict together with the recorded ones.

    files: SHA-256 by name. Where a member has no checkpoint now, nothing is predicted: all files differ.
    Raises: as `rerun`.
    """
    folders, verdicts = [], []
    for run_id in run_ids:
        recorded = load_recorded_run(run_id, tracking)
        recorded.check_finished()
        folder = new_folder(recorded.run_id)
        config = rebuild(recorded, overrides, tracking)
        verdicts.append(_member(recorded, config, overrides, folder, tolerance))
        folders.append(folder / "checkpoint")
    config = rebuild(load_recorded_run(run_ids[0], tracking), overrides, tracking)
    now = _predicted(kind, config, folders) if all(one.is_dir() for one in folders) else {}
    compared = {name: {"then": then, "now": now.get(name)} for name, then in files.items()}
    same = all(one["then"] == one["now"] for one in compared.values())
    exact = same and all(one.verdict == EXACT for one in verdicts)
    return Remade(EXACT if exact else DIFFERENT, kind.value, verdicts, compared)


def _member(
    recorded: RecordedRun, config: RunConfig, overrides: Sequence[str], folder: Path, tolerance: float
) -> Verdict:
    from finesweep.machine import device
    from finesweep.provenance import collect
    from finesweep.provenance.differences import differences
    from finesweep.training.inputs import load_inputs

    pin(recorded.record.machine, config.trainer.threads)
    device.prepare(config.trainer)
    changes = differences(recorded.record, collect(config, overrides, load_inputs(config).content))
    verdict = judge(recorded, rerun(recorded, config, list(overrides), folder=folder), changes, tolerance)
    record_verdict(verdict, config.tracking)
    return verdict


def _predicted(kind: Ensemble, config: RunConfig, folders: Sequence[Path]) -> dict[str, str]:
    """Predicts the test splits with all members. Returns each file's SHA-256."""
    from finesweep.training.ensembles import Together
    from finesweep.training.inputs import load_inputs

    config.predict = True
    together = Together(kind, config, load_inputs(config))
    paths = together.write(folders, folders[0].with_name("together"))
    return {path.name: checkpoint.sha256(path) for path in paths}
