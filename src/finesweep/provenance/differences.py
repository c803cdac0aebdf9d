"""Compares two records, and marks the differences that may have changed a result."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from finesweep.provenance.record import Provenance

# Of the config, what says where and not what; threads, device and precision are compared as they were in use.
PLACES = ("tracking.", "cache_dir", "predict", "data.path", "model.name_or_path", "model.revision",
          "trainer.threads", "trainer.device", "trainer.precision")  # fmt: skip
# Packages whose code computes, or reads what is computed with.
COMPUTING = ("torch", "transformers", "accelerate", "tokenizers", "safetensors", "numpy", "datasets",
             "pyarrow", "evaluate", "scikit-learn", "scipy", "triton")  # fmt: skip
# Rooms of finesweep that read runs and train none; tests/test_import_rules.py keeps them so.
OBSERVING = ("monitor/", "reproduce/", "cli/")
SHORT = 12  # characters of a hash, for people


@dataclass(frozen=True)
class Change:
    section: str  # config, data, model, code, machine, packages
    what: str
    then: Any
    now: Any
    may_matter: bool = True  # whether it can change a result


def differences(then: Provenance, now: Provenance, places: bool = False) -> list[Change]:
    """Returns all differences, those that may have changed a result first.

    places: whether paths and stores are compared too.
    """
    mixed = [Change(**change) for record in (then, now) for change in record.mixed]
    found = [*mixed, *_between(then, now, places)]
    return sorted(found, key=lambda change: not change.may_matter)  # stable


def while_interrupted(earlier: Provenance, now: Provenance) -> list[dict[str, Any]]:
    """For a record's `mixed`: a training that goes on elsewhere is not that of one machine, or version."""
    found = [change for change in _between(earlier, now) if change.may_matter]
    renamed = [replace(change, what=f"{change.what}, while interrupted") for change in found]
    return [*earlier.mixed, *map(asdict, renamed)]


def _between(then: Provenance, now: Provenance, places: bool = False) -> list[Change]:
    return [
        *_config(then, now, places),
        *_data(then, now),
        *_model(then, now),
        *_encoded(then, now),
        *_code(then, now),
        *_machine(then, now),
        *_packages(then, now),
    ]


def _config(then: Provenance, now: Provenance, places: bool) -> Iterator[Change]:
    for change in _leaves("config", "", then.config, now.config):
        is_place = change.what.startswith(PLACES)
        if places or not is_place:
            yield Change("config", change.what, change.then, change.now, not is_place)


def _data(then: Provenance, now: Provenance) -> Iterator[Change]:
    for split in _shared_splits(then, now):
        one, other = then.data[split], now.data[split]
        if one["rows"] != other["rows"]:
            yield Change("data", f"data {split}: rows", one["rows"], other["rows"])
        yield from _leaves("data", f"data {split}: column ", one["columns"], other["columns"])


def _encoded(then: Provenance, now: Provenance) -> Iterator[Change]:
    """Where the rows are equal and their token ids are not: the tokenizer's doing."""
    for split in _shared_splits(then, now):
        one, other = then.data[split], now.data[split]
        if one["columns"] == other["columns"] and "encoded" in one and "encoded" in other:
            changed = list(_leaves("data", "", one["encoded"], other["encoded"]))
            if changed:
                names = ", ".join(change.what for change in changed)
                yield replace(changed[0], what=f"data {split}, as encoded: {names}")


def _shared_splits(then: Provenance, now: Provenance) -> list[str]:
    return [split for split in then.data if split in now.data]


def _model(then: Provenance, now: Provenance) -> Iterator[Change]:
    yield from _leaves("model", "model ", then.model, now.model)


def _code(then: Provenance, now: Provenance) -> Iterator[Change]:
    """finesweep's own files; a commit or a change elsewhere, such as in a README, is no more than a hint."""
    for change in _leaves("code", "code ", then.code["files"], now.code["files"]):
        looks = change.what.removeprefix("code finesweep/").startswith(OBSERVING)
        yield Change("code", change.what, change.then, change.now, not looks)
    for key, what in (("commit", "git commit"), ("patch_sha256", "uncommitted changes")):
        if then.code[key] != now.code[key]:
            yield Change("code", what, then.code[key], now.code[key], may_matter=False)


def _machine(then: Provenance, now: Provenance) -> Iterator[Change]:
    for change in _leaves("machine", "", then.machine, now.machine):
        hint = change.what in ("platform", "python")  # MKL chooses its kernels by the CPU's name
        yield Change("machine", change.what, change.then, change.now, not hint)


def _packages(then: Provenance, now: Provenance) -> Iterator[Change]:
    for change in _leaves("packages", "", then.packages, now.packages):
        computes = change.what in COMPUTING or change.what.startswith("nvidia-")
        yield Change("packages", f"package {change.what}", change.then, change.now, computes)


def _leaves(section: str, prefix: str, then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Change]:
    for key in dict.fromkeys([*then, *now]):
        one, other = then.get(key), now.get(key)
        if all(side is None or isinstance(side, dict) for side in (one, other)) and one != other:
            yield from _leaves(section, f"{prefix}{key}.", one or {}, other or {})
        elif one != other:
            yield Change(section, prefix + key, one, other)


def cause(changes: list[Change]) -> str:
    """Names the most likely cause of a different result, in words for people."""
    matter = [change for change in changes if change.may_matter]
    if not changes:
        return "no recorded difference"
    if not matter:
        also = ", ".join(change.what for change in changes[:3])
        return f"no recorded difference that should matter; also different: {also}"
    shown = "; ".join(
        f"{change.what} ({brief(change.then)} then, {brief(change.now)} now)" for change in matter[:3]
    )
    return shown + (f"; and {len(matter) - 3} more" if len(matter) > 3 else "")


def brief(value: Any) -> str:
    text = str(value)
    is_hash = len(text) in (40, 64) and set(text) <= set("0123456789abcdef")
    return text[:SHORT] if is_hash else text
