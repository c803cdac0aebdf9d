"""Writes the README.md of an exported run."""

import re
import shlex
from pathlib import Path

from finesweep.config.run import is_own_metric
from finesweep.io.terminal import one_line, printable
from finesweep.provenance.fields import Code, Machine
from finesweep.reproduce.recorded_run import CONFIG, RecordedRun
from finesweep.tags import Tag

README = """# Run {run_id}

`{name}`, {origin}: {value}. It was made with `{command}`
on {machine};
Python {python}, torch {torch}.

## Make it again

In a checkout of the {checkout} (finesweep {version}), with this folder as DIR:

```bash
{restore}pip install -c DIR/constraints.txt {package}
finesweep reproduce {arguments}
```

Paths in the last command are those of the machine where the run was made: put yours there. A function in
it, `data.metric=module:function`, is imported and run: read it before. finesweep checks that data and
model are the same, names what differs, trains, and answers EXACT, WITHIN_TOLERANCE or DIFFERENT.

## Contents

- `provenance.json`: config, seeds, machine, packages, code, hashes of data, model and results
- `run.json`: every metric at every step
- `{config}.yaml`: the whole config, for `finesweep train --config-dir DIR --config-name {config}`
- `checkpoint/`: the best evaluation's model; loads with `from_pretrained`
- `submission/`: the predictions of the test split, if the run made any
- `constraints.txt`: the packages, for `pip install -c`
- `git.diff`: the changes that were not committed, if there were any
{missing}"""


COMMIT = re.compile("[0-9a-f]{7,64}")
OUTSIDE = "COMMIT  # it ran outside of a git checkout: any commit of that time"


def readme(recorded: RecordedRun, missing: list[str]) -> str:
    """Returns the README of an exported run; `missing` are the files that the run has not kept."""
    record = recorded.record
    version = one_line(record.packages.get("finesweep", ""))
    installed, given = record.code.installed, shlex.join(record.overrides)
    return README.format(
        run_id=recorded.run_id,
        name=one_line(recorded.name),
        origin=_origin(recorded),
        value=one_line(_value(recorded)),
        command=printable(f"{record.program or 'python train.py'} {given}").replace("\n", " "),
        machine=one_line(_machine(record.machine)),
        python=one_line(record.machine.python),
        torch=one_line(record.packages["torch"]),
        version=version,
        checkout="project" if installed else "code",
        restore=_restore(record.code, "git.diff" not in missing),
        package=f"WHEEL  # of finesweep {version}, or the folder of its checkout" if installed else "-e .",
        arguments=shlex.join(["DIR", *map(printable, _needed_overrides(recorded))]),
        config=CONFIG,
        missing="".join(f"- `{part}`: the run has not kept it\n" for part in missing),
    )


def _restore(code: Code, has_patch: bool) -> str:
    """Writes the lines that restore the checkout; an installed finesweep needs none outside of one."""
    commit = code.commit or ""
    if code.installed and not commit:
        return ""
    patch = "git apply DIR/git.diff\n" if code.patch_sha256 is not None and has_patch else ""
    return f"git checkout {commit if COMMIT.fullmatch(commit) else OUTSIDE}\n{patch}"


def _origin(recorded: RecordedRun) -> str:
    tags = {key: one_line(value) for key, value in recorded.tags.items()}
    if Tag.REPRODUCES in tags:
        return f"{tags[Tag.KIND]} of run {tags[Tag.REPRODUCES]}"
    if Tag.STUDY in tags:
        return f"trial {tags.get(Tag.TRIAL)} of study `{tags[Tag.STUDY]}`"
    return "a single run"


def _value(recorded: RecordedRun) -> str:
    metric = recorded.record.config["data"]["metric"]
    return "pruned" if recorded.value is None else f"{metric} {recorded.value:.6f}"


def _machine(machine: Machine) -> str:
    gpu = [machine.gpu.name, f"CUDA {machine.gpu.cuda}"] if machine.gpu else []
    threads = f"{machine.threads} threads"
    return ", ".join([machine.platform, machine.cpu, threads, machine.cpu_capability, *gpu])


def _needed_overrides(recorded: RecordedRun) -> list[str]:
    """Returns the overrides that name files, which lie elsewhere on another machine, and a metric's code."""
    config = recorded.record.config
    path, model = config["data"].get("path"), config["model"].get("name_or_path")
    overrides = [f"data.path={path}"] if path else []
    if recorded.record.model.source == "folder":
        overrides.append(f"model.name_or_path={model}")
    submission = config["data"].get("submission")
    template = submission.get("template") if isinstance(submission, dict) else None
    if isinstance(template, str) and Path(template).is_absolute():
        overrides.append(f"data.submission.template={template}")
    if is_own_metric(metric := config["data"]["metric"]):
        overrides.append(f"data.metric={metric}")
    return overrides
