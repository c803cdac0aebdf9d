"""Rebuilds the config and the environment of a recorded run."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from finesweep.config.parse import from_dict
from finesweep.config.places import relocated
from finesweep.config.run import RunConfig, TrackingConfig, is_own_metric
from finesweep.errors import ConfigError, RunError, first_line
from finesweep.machine import determinism
from finesweep.provenance.fields import Machine
from finesweep.provenance.record import Provenance
from finesweep.reproduce.recorded_run import RecordedRun

ARTIFACTS, CACHE = TrackingConfig().artifacts, RunConfig().cache_dir
# Instruction sets of ATen (PyTorch's kernels), lowest first.
ATEN = ("DEFAULT", "AVX2", "AVX512")


def rebuild(recorded: RecordedRun, overrides: Sequence[str], tracking: TrackingConfig) -> RunConfig:
    """Rebuilds the recorded config with the threads, precision, device and model commit that were in use.

    `overrides`, ``key=value``, win over both.
    Raises: ConfigError for an override that cannot be applied, RunError for a recorded config that cannot,
    and for an exported one that names code to run.
    """
    _check_overrides(overrides)
    _check_code(recorded, overrides)
    record, machine = recorded.record, recorded.record.machine
    trainer = {"threads": machine.threads, "precision": machine.precision, "device": machine.device}
    pinned: dict[str, Any] = {"trainer": trainer, "predict": predicts(record)}
    if record.model.commit:
        pinned["model"] = {"revision": record.model.commit}
    if recorded.folder:  # it was exported from another machine, whose places may not exist here
        pinned |= {"cache_dir": RunConfig().cache_dir, "tracking": {"artifacts": TrackingConfig().artifacts}}
    try:
        config = from_dict(_placed(record.config), pinned, overrides=overrides)
    except (TypeError, AttributeError, OverflowError) as error:  # by a value that no version has written
        problem = f"a value of its recorded config, or of an override, cannot be used ({first_line(error)})"
        raise RunError(f"run {recorded.run_id}: {problem}") from error
    config.tracking.uri, config.tracking.spool = tracking.uri, tracking.spool
    return config


def _placed(recorded: dict[str, Any]) -> dict[str, Any]:
    """Replaces the absolute places of a record that are no longer there, because its project has moved."""
    data, model, tracking = recorded["data"], recorded["model"], recorded["tracking"]
    found = {
        "cache_dir": _find(recorded.get("cache_dir", CACHE), CACHE),
        "data": data | {"path": _find(data.get("path"), data.get("path"))},
        "model": model | {"name_or_path": _find(model.get("name_or_path"), model.get("name_or_path"))},
        "tracking": tracking | {"artifacts": _find(tracking.get("artifacts", ARTIFACTS), ARTIFACTS)},
    }
    return recorded | found


def _find(place: str | None, otherwise: str | None) -> str | None:
    """Returns a recorded place; one that is gone is looked for in the working folder, by its end."""
    if place is None or not Path(place).is_absolute() or Path(place).exists():
        return place
    here = relocated(Path(place), [Path.cwd()], least=1)
    return str(here) if here.exists() else otherwise


def _check_overrides(overrides: Sequence[str]) -> None:
    if wrong := [text for text in overrides if not is_override(text)]:
        raise ConfigError(
            f"{wrong[0]}: not an override; legal: key=value, as data.path=DIR or trainer.threads=2"
        )
    if stores := [text for text in overrides if text.startswith("tracking.uri=")]:
        raise ConfigError(f"{stores[0]}: the new run goes to the store of --tracking-uri; give that instead")


def _check_code(recorded: RecordedRun, overrides: Sequence[str]) -> None:
    """Raises: RunError if a folder, perhaps a stranger's, names a function that the command does not name."""
    metric = recorded.record.config["data"]["metric"]
    is_named = any(text.startswith("data.metric=") for text in overrides)
    if recorded.folder and is_own_metric(metric) and not is_named:
        raise RunError(
            f"{recorded.folder}: its record asks for code to be imported and run, data.metric={metric}. A "
            "folder may be a stranger's, so nothing is imported that the command does not name: read the "
            f"function, then add data.metric={metric}, or another metric"
        )


def is_override(text: str) -> bool:
    """Whether a command-line argument has the form ``key=value``."""
    return re.match(r"\w[\w.]*=", text) is not None


def predicts(record: Provenance) -> bool:
    """Whether the run predicted a test split."""
    return len(record.results.predictions or {}) > 1


def pin(machine: Machine, threads: int | None) -> None:
    """Sets this process's threads, variables and instruction sets as recorded. Call it before torch computes.

    It only lowers instruction sets: torch would use one that this CPU lacks, and crash. Environment variables
    that are set already stay as they are, and are named as differences.
    """
    determinism.restore_variables(machine.variables)
    determinism.set_threads(threads or machine.threads)
    import torch  # the import computes nothing: ATen reads its variable at the first computation

    has_avx2, has_avx512 = torch.cpu._is_avx2_supported(), torch.cpu._is_avx512_supported()
    here = ATEN[2 if has_avx512 else 1 if has_avx2 else 0]
    then = machine.cpu_capability
    if then in ATEN and ATEN.index(then) < ATEN.index(here):
        os.environ.setdefault("ATEN_CPU_CAPABILITY", then.lower())
    _pin_onednn(machine.onednn.isa)


def _pin_onednn(then: str | None) -> None:
    from finesweep.provenance.environment import ONEDNN_ISAS, onednn_isa

    levels, here = list(ONEDNN_ISAS), onednn_isa()
    if then in levels and here in levels and levels.index(then) < levels.index(here):
        os.environ.setdefault("ONEDNN_MAX_CPU_ISA", then)
