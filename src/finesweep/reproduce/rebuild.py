"""Rebuilds the config and the environment of a recorded run."""

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from finesweep.config.parse import from_dict
from finesweep.config.run import RunConfig, TrackingConfig
from finesweep.errors import ConfigError
from finesweep.machine import determinism
from finesweep.provenance.record import Provenance
from finesweep.reproduce.recorded_run import RecordedRun

# Instruction sets of ATen (PyTorch's kernels), lowest first.
ATEN = ("DEFAULT", "AVX2", "AVX512")


def rebuild(recorded: RecordedRun, overrides: Sequence[str], tracking: TrackingConfig) -> RunConfig:
    """The recorded config with what the run found out filled in; `overrides`, ``key=value``, win.

    Raises: ConfigError for an argument that is not `key=value`.
    """
    if wrong := [text for text in overrides if not is_override(text)]:
        raise ConfigError(
            f"{wrong[0]}: not an override; legal: key=value, as data.path=DIR or trainer.threads=2"
        )
    if places := [text for text in overrides if text.startswith("tracking.uri=")]:
        raise ConfigError(f"{places[0]}: the new run goes to the store of --tracking-uri; give that instead")
    plain, machine = recorded.record.config, recorded.record.machine
    trainer = {key: machine[key] for key in ("threads", "precision", "device")}
    pinned: dict[str, Any] = {"trainer": trainer, "predict": predicts(recorded.record)}
    if commit := recorded.record.model.get("commit"):
        pinned["model"] = {"revision": commit}
    if recorded.folder:  # from another machine, whose places are not here
        pinned |= {"cache_dir": RunConfig().cache_dir, "tracking": {"artifacts": TrackingConfig().artifacts}}
    config = from_dict(plain, pinned, overrides=overrides)
    config.tracking.uri = tracking.uri
    return config


def is_override(text: str) -> bool:
    return re.match(r"\w[\w.]*=", text) is not None


def predicts(record: Provenance) -> bool:
    """Whether the run predicted a test split."""
    return len(record.results.get("predictions", {})) > 1


def pin(machine: Mapping[str, Any], threads: int | None) -> None:
    """Sets this process's environment as recorded, as far as this machine goes. Before torch computes.

    Instruction sets are only ever lowered: torch believes what it is told, and would die of an illegal
    instruction. What a person has set here stays, and is named as a difference.
    """
    determinism.restore_variables(machine["variables"])
    determinism.set_threads(threads or machine["threads"])
    import torch  # computes nothing yet; ATen reads its variable when it first does

    has_avx2, has_avx512 = torch.cpu._is_avx2_supported(), torch.cpu._is_avx512_supported()
    here = ATEN[2 if has_avx512 else 1 if has_avx2 else 0]
    then = machine["cpu_capability"]
    if then in ATEN and ATEN.index(then) < ATEN.index(here):
        os.environ.setdefault("ATEN_CPU_CAPABILITY", then.lower())
    _pin_onednn(machine["onednn"]["isa"])


def _pin_onednn(then: str | None) -> None:
    from finesweep.provenance.environment import ONEDNN_ISAS, onednn_isa

    levels, here = list(ONEDNN_ISAS), onednn_isa()
    if then in levels and here in levels and levels.index(then) < levels.index(here):
        os.environ.setdefault("ONEDNN_MAX_CPU_ISA", then)
