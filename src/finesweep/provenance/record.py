"""Collects, reads and writes the record of a run: what it was made of and with, and its results."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from finesweep.config.parse import to_dict
from finesweep.config.places import as_given
from finesweep.config.run import RunConfig
from finesweep.errors import ConfigError
from finesweep.io.reading import Unreadable, parse_json
from finesweep.io.redaction import redact_urls, redact_values
from finesweep.io.terminal import trainer
from finesweep.provenance.conversion import dump, load
from finesweep.provenance.fields import Change, Code, Machine, Model, Results, Section, Split
from finesweep.tags import TIMES, Tag

FILE = "provenance.json"
SCHEMA_VERSION = 1  # raised when a field changes its meaning; fields may be added
PROGRESS = "progress"  # per cent of the training: an axis to draw metrics over, which older runs do not have
# Keys that finesweep reads in untyped parts of a record: dotted path -> type; a dictionary before its keys.
REQUIRED: dict[str, type] = {
    "config.data": dict, "config.data.metric": str, "config.model": dict, "config.trainer": dict,
    "config.tracking": dict, "config.tracking.uri": str, "packages.torch": str, "data.train": dict,
    "data.eval": dict,
}  # fmt: skip
History = Mapping[tuple[str, int], float]  # metric, step -> value


@dataclass
class Provenance(Section):
    """The content of `provenance.json`."""

    config: dict[str, Any]  # resolved, without passwords
    overrides: list[str]
    seeds: dict[str, int]
    machine: Machine
    packages: dict[str, str]  # installed distributions and their versions
    code: Code
    model: Model
    data: dict[str, Split]  # train, eval, final_eval, test NAME
    mixed: list[Change] = field(default_factory=list)  # what changed before the training was resumed
    results: Results = field(default_factory=Results)
    schema_version: int = SCHEMA_VERSION
    program: str | None = None  # how a person started it, without the overrides

    @property
    def has_results(self) -> bool:
        return self.results != Results()

    def to_json(self) -> str:
        return json.dumps(dump(self), indent=1) + "\n"

    def constraints(self) -> str:
        """Returns the packages as `pip install -c` reads them.

        It leaves out builds (`+cpu`), which pip's index chooses, and finesweep, which no index has.
        """
        head = f"# Python {self.machine.python}, {self.machine.platform}\n"
        pins = (f"{name}=={version.partition('+')[0]}\n" for name, version in self.packages.items())
        return head + "".join(pin for pin in pins if not pin.startswith("finesweep=="))

    @classmethod
    def from_json(cls, text: str, where: str) -> "Provenance":
        """Reads a stored record; `where` names its place in errors.

        Raises: ConfigError for a damaged record, and for another schema version.
        """
        try:
            stored = parse_json(text)
            version = stored["schema_version"]
        except (Unreadable, TypeError, KeyError) as error:
            raise ConfigError(f"{where}: no provenance that can be read ({error})") from error
        if version != SCHEMA_VERSION:
            legal = f"{SCHEMA_VERSION}; another finesweep wrote it"
            raise ConfigError.at(f"{where}: schema_version", version, legal)
        try:
            record: Provenance = load(cls, stored)
            _check_required(stored)
        except ValueError as error:
            advice = "the record is damaged; take it from its source again"
            raise ConfigError(f"{where}: {error}; {advice}") from error
        return record


def _check_required(stored: dict[str, Any]) -> None:
    """Raises: ValueError naming the first of the keys `REQUIRED` that is missing, or of another type."""
    for path, kind in REQUIRED.items():
        value: Any = stored
        for key in path.split("."):
            value = value.get(key)
        load(kind, value, path)


def collect(config: RunConfig, overrides: Sequence[str], data: dict[str, Split]) -> Provenance:
    """Records this process, after `device.prepare`. The costly parts are read once per process.

    data: the splits, as `content.all_splits` describes them.
    """
    from finesweep.provenance.code import code
    from finesweep.provenance.content import model_content
    from finesweep.provenance.environment import machine, packages

    return Provenance(
        program=trainer(),
        config=redact_values(to_dict(as_given(config))),
        overrides=[redact_urls(text) for text in overrides],
        # The seed of the hold-out is the same for all runs, so that trials share their rows.
        seeds={"seed": config.seed, "data.holdout": 0},
        machine=machine(config.trainer),
        packages=packages(),
        code=code(config.data.metric),
        model=model_content(config.model),
        data=data,
    )


def is_result(name: str) -> bool:
    """Whether a metric is a result. Times, the machine's load (`system/`) and `PROGRESS` are none."""
    return not name.endswith(TIMES) and not name.startswith("system/") and name != PROGRESS


def history_hash(history: History) -> str:
    """Hashes the metrics that are results, with their steps and values."""
    rows = sorted((name, step, float(value)) for (name, step), value in history.items() if is_result(name))
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def with_metrics(results: Results, history: History) -> Results:
    """Adds the names and the hash of the run's metrics; the MLflow store has their values."""
    names = sorted({name for name, _ in history if is_result(name)})
    return replace(results, metrics_sha256=history_hash(history), metrics=names)


def tags(record: Provenance) -> dict[str, str]:
    """Returns the key facts as MLflow tags, by which runs can be searched and compared."""
    machine = record.machine
    values = {
        Tag.GIT_COMMIT: record.code.commit,
        Tag.DEVICE: machine.gpu.name if machine.gpu else machine.device,
        Tag.THREADS: machine.threads,
        Tag.CPU_CAPABILITY: machine.cpu_capability,
        Tag.TORCH: record.packages["torch"],
        Tag.DATA_SHA256: record.data["train"].sha256,
        Tag.WEIGHTS_SHA256: record.results.weights_sha256,
    }
    return {tag: str(value) for tag, value in values.items() if value is not None}
