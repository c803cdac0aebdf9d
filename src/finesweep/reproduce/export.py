"""Writes a run to a folder, from which a machine that has the data and the base model can reproduce it."""

import shlex
import shutil
from contextlib import ExitStack
from pathlib import Path

import yaml

from finesweep.config.run import TrackingConfig
from finesweep.errors import ModelError, OutputError, RunError
from finesweep.io import checkpoint
from finesweep.io.atomic import staged
from finesweep.provenance.record import FILE
from finesweep.reproduce.recorded_run import RUN_FILE, RecordedRun
from finesweep.tags import Tag
from finesweep.tracking import TrackedRun, open_store

PARTS = ("checkpoint", "submission", "git.diff")
CONFIG = "run"  # not `config`, which would be the project's own


def export(recorded: RecordedRun, folder: Path, tracking: TrackingConfig) -> list[str]:
    """Writes `folder`, whole or not at all. Returns those of `PARTS` that the run has not kept.

    Raises: OutputError if `folder` holds something already, or cannot be written; RunError for a folder, and
    for a run that is not finished.
    """
    recorded.check_finished()
    folder = folder.resolve()
    if recorded.folder:
        raise RunError(f"{recorded.folder}: was exported already; legal: the id of a run in the MLflow store")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir()) or folder == Path.cwd()):
        raise OutputError(f"{folder}: is there already; legal: a new folder, or an empty one elsewhere")
    with ExitStack() as stack:
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            staging = stack.enter_context(staged(folder, folder=True))
        except OSError as error:
            raise OutputError(f"{folder}: cannot be written ({error.strerror})") from error
        return _write(recorded, staging, tracking)


def _write(recorded: RecordedRun, folder: Path, tracking: TrackingConfig) -> list[str]:
    tracked = TrackedRun(open_store(tracking), recorded.run_id)
    missing = []
    for part in PARTS if recorded.record.code.patch_sha256 else PARTS[:2]:
        try:
            tracked.download(part, folder)
        except ModelError:
            missing.append(part)
    if "checkpoint" not in missing and (reason := _damage(folder / "checkpoint", recorded)):
        shutil.rmtree(folder / "checkpoint")
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
    """Returns the run's config as YAML, for `python train.py --config-dir DIR --config-name NAME`."""
    config = dict(recorded.record.config)
    if "***" in config["tracking"]["uri"]:  # its password was left out
        del config["tracking"]
    head = f"# Run {recorded.run_id} ({recorded.name}); python train.py --config-dir DIR --config-name NAME\n"
    return head + yaml.safe_dump({"defaults": ["config", "_self_"], **config}, sort_keys=False)


def readme(recorded: RecordedRun, missing: list[str]) -> str:
    record = recorded.record
    machine, config = record.machine, record.config
    study = recorded.tags.get(Tag.STUDY)
    repeats = recorded.tags.get(Tag.REPRODUCES)
    origin = f"trial {recorded.tags.get(Tag.TRIAL)} of study `{study}`" if study else "a run of its own"
    origin = f"{recorded.tags[Tag.KIND]} of run {repeats}" if repeats else origin
    value = "pruned" if recorded.value is None else f"{config['data']['metric']} {recorded.value:.6f}"
    gpu = f", {machine.gpu.name}, CUDA {machine.gpu.cuda}" if machine.gpu else ""
    needed = [f"data.path={config['data']['path']}"] if config["data"]["path"] else []
    if record.model.source == "folder":
        needed.append(f"model.name_or_path={config['model']['name_or_path']}")
    commit = record.code.commit or "COMMIT      # it was in no git checkout: any of about that time"
    diff = "git apply DIR/git.diff\n" if record.code.patch_sha256 and "git.diff" not in missing else ""
    version = record.packages.get("finesweep", "")
    kept = "".join(f"- `{part}`: the run has not kept it\n" for part in missing)
    return f"""# Run {recorded.run_id}

`{recorded.name}`, {origin}: {value}. Made with `{shlex.join(["python", "train.py", *record.overrides])}`
on {machine.platform}, {machine.cpu}, {machine.threads} threads, {machine.cpu_capability}{gpu};
Python {machine.python}, torch {record.packages["torch"]}.

## Make it again

In a checkout of the code (finesweep {version}), with this folder as DIR:

```bash
git checkout {commit}
{diff}pip install -c DIR/constraints.txt -e .
finesweep reproduce DIR {shlex.join(needed)}
```

The paths behind `=` are those of the machine where it ran: put yours there. finesweep checks that data and
model are the same, names what differs, trains, and answers EXACT, WITHIN_TOLERANCE or DIFFERENT.

## What is here

- `provenance.json`: config, seeds, machine, packages, code, hashes of data, model and results
- `run.json`: every metric at every step
- `{CONFIG}.yaml`: the whole config, for `python train.py --config-dir DIR --config-name {CONFIG}`
- `checkpoint/`: the best evaluation's model; loads with `from_pretrained`
- `submission/`: what it predicted of the test split, if it did
- `constraints.txt`, `git.diff`: packages; what was not committed
{kept}"""
