"""The record of one run, and what is kept of its results."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from finesweep.config.parse import to_dict
from finesweep.config.run import RunConfig
from finesweep.errors import ConfigError
from finesweep.io.redaction import redact_urls, redact_values
from finesweep.provenance.shape import check_shape
from finesweep.tags import Tag

FILE = "provenance.json"
SCHEMA_VERSION = 1  # raised when a field changes its meaning; fields may be added
# Metrics that say how long something took are never equal; the machine's load is nobody's result.
TIMES = ("_runtime", "_per_second", "_preparation_time")
History = Mapping[tuple[str, int], float]  # metric, step -> value


@dataclass
class Provenance:
    """JSON-ready throughout."""

    config: dict[str, Any]  # resolved, without passwords
    overrides: list[str]
    seeds: dict[str, int]
    machine: dict[str, Any]
    packages: dict[str, str]
    code: dict[str, Any]
    model: dict[str, Any]
    data: dict[str, Any]
    mixed: list[dict[str, Any]] = field(default_factory=list)  # what changed before a training was resumed
    results: dict[str, Any] = field(default_factory=dict)  # empty until the training is over
    schema_version: int = SCHEMA_VERSION

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1) + "\n"

    def constraints(self) -> str:
        """What `pip install -c` reads.

        The build (`+cpu`) is the package index's choice; finesweep is on none.
        """
        head = f"# Python {self.machine['python']}, {self.machine['platform']}\n"
        pins = (f"{name}=={version.partition('+')[0]}\n" for name, version in self.packages.items())
        return head + "".join(pin for pin in pins if not pin.startswith("finesweep=="))

    @classmethod
    def from_json(cls, text: str, where: str) -> "Provenance":
        """Raises: ConfigError for what this version cannot read."""
        try:
            found = json.loads(text)
            version = found["schema_version"]
        except (ValueError, TypeError, KeyError) as error:
            raise ConfigError(f"{where}: no provenance that can be read ({error})") from error
        if version != SCHEMA_VERSION:
            legal = f"{SCHEMA_VERSION}; another finesweep wrote it"
            raise ConfigError.at(f"{where}: schema_version", version, legal)
        check_shape(found, where)
        return cls(**{key: value for key, value in found.items() if key in cls.__dataclass_fields__})


def collect(config: RunConfig, overrides: Sequence[str], data: dict[str, Any]) -> Provenance:
    """Records this process, after `device.prepare`. The costly parts are read once per process.

    data: hashes of every split, as `content.all_splits` gives them.
    """
    from finesweep.provenance.code import code
    from finesweep.provenance.content import model_content
    from finesweep.provenance.environment import machine, packages

    return Provenance(
        config=redact_values(to_dict(config)),
        overrides=[redact_urls(text) for text in overrides],
        # The hold-out's is the same for all runs, so that trials share their rows.
        seeds={"seed": config.seed, "data.holdout": 0},
        machine=machine(config.trainer),
        packages=packages(),
        code=code(config.data.metric),
        model=model_content(config.model),
        data=data,
    )


def is_result(name: str) -> bool:
    """Whether a metric comes out the same when everything else is."""
    return not name.endswith(TIMES) and not name.startswith("system/")


def history_hash(history: History) -> str:
    rows = sorted((name, step, float(value)) for (name, step), value in history.items() if is_result(name))
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def results(history: History, found: dict[str, Any]) -> dict[str, Any]:
    """`found` and the metric history, of which the store has the values."""
    names = sorted({name for name, _ in history if is_result(name)})
    return found | {"metrics_sha256": history_hash(history), "metrics": names}


def tags(record: Provenance) -> dict[str, str]:
    """The key facts, as MLflow tags that runs can be found and compared by."""
    machine = record.machine
    found = {
        Tag.GIT_COMMIT: record.code["commit"],
        Tag.DEVICE: (machine["gpu"] or {}).get("name", machine["device"]),
        Tag.THREADS: machine["threads"],
        Tag.CPU_CAPABILITY: machine["cpu_capability"],
        Tag.TORCH: record.packages["torch"],
        Tag.DATA_SHA256: record.data["train"]["sha256"],
        Tag.WEIGHTS_SHA256: record.results.get("weights_sha256"),
    }
    return {key: str(value) for key, value in found.items() if value is not None}
