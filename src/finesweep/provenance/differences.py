"""Compares two records, and marks the differences that may have changed a result."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from finesweep.provenance.conversion import dump
from finesweep.provenance.fields import Change, Code, Split
from finesweep.provenance.record import Provenance

# Config keys without effect on the weights: places, and whether to predict. Of threads, device and precision,
# the values in use are compared instead.
PLACES = ("tracking.", "cache_dir", "predict", "data.path", "data.submission.template",
          "model.name_or_path", "model.revision", "trainer.threads", "trainer.device",
          "trainer.precision")  # fmt: skip
# Packages that compute, or that read data, tokenizers or weights.
COMPUTING = ("torch", "transformers", "accelerate", "tokenizers", "safetensors", "numpy", "datasets",
             "pyarrow", "evaluate", "scikit-learn", "scipy", "triton")  # fmt: skip
# Packages of finesweep that only read runs; by tests/test_import_rules.py, nothing that trains imports them.
OBSERVING = ("monitor/", "report/", "reproduce/", "inference/", "cli/", "api/")
FINESWEEP = ("finesweep/", "hydra_plugins/")  # its own files
SHORT = 12  # characters of a hash, for people


def differences(then: Provenance, now: Provenance, places: bool = False) -> list[Change]:
    """Returns all differences, those that may have changed a result first.

    places: whether paths and stores are compared too.
    """
    changes = [*then.mixed, *now.mixed, *_between(then, now, places)]
    return sorted(changes, key=lambda change: not change.may_matter)  # stable


def changes_while_interrupted(earlier: Provenance, now: Provenance) -> list[Change]:
    """Returns `mixed` for a run that resumes: the changes since `earlier` that may change its result."""
    changes = [change for change in _between(earlier, now) if change.may_matter]
    return [
        *earlier.mixed,
        *(replace(change, what=f"{change.what}, while interrupted") for change in changes),
    ]


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
    for change in _leaves("config", "", _with_processes(then.config), _with_processes(now.config)):
        is_place = change.what.startswith(PLACES)
        if places or not is_place:
            yield replace(change, may_matter=not is_place)


def _with_processes(config: Mapping[str, Any]) -> dict[str, Any]:
    """Adds the number of processes where a record leaves it out, because there was one."""
    return {**config, "trainer": {"num_processes": 1, **config["trainer"]}}


def _data(then: Provenance, now: Provenance) -> Iterator[Change]:
    for name, split_then, split_now in _shared_splits(then, now):
        if split_then.rows != split_now.rows:
            yield Change("data", f"data {name}: rows", split_then.rows, split_now.rows)
        yield from _leaves("data", f"data {name}: column ", split_then.columns, split_now.columns)


def _encoded(then: Provenance, now: Provenance) -> Iterator[Change]:
    """Yields the splits whose rows are equal but whose token ids are not, because the tokenizer differs."""
    for name, split_then, split_now in _shared_splits(then, now):
        if split_then.columns == split_now.columns and split_then.encoded and split_now.encoded:
            changes = list(_leaves("data", "", split_then.encoded, split_now.encoded))
            if changes:
                columns = ", ".join(change.what for change in changes)
                yield replace(changes[0], what=f"data {name}, as encoded: {columns}")


def _shared_splits(then: Provenance, now: Provenance) -> list[tuple[str, Split, Split]]:
    return [(name, split, now.data[name]) for name, split in then.data.items() if name in now.data]


def _model(then: Provenance, now: Provenance) -> Iterator[Change]:
    yield from _leaves("model", "model ", dump(then.model), dump(now.model))


def _code(then: Provenance, now: Provenance) -> Iterator[Change]:
    """Compares source files. Commits may differ by a README alone, so they cannot matter."""
    for change in _leaves("code", "code ", *_comparable(then.code, now.code)):
        observes = change.what.removeprefix("code finesweep/").startswith(OBSERVING)
        yield replace(change, may_matter=not observes)
    if then.code.commit != now.code.commit:
        yield Change("code", "git commit", then.code.commit, now.code.commit, may_matter=False)
    patches = then.code.patch_sha256, now.code.patch_sha256
    if patches[0] != patches[1]:
        yield Change("code", "uncommitted changes", *patches, may_matter=False)


def _comparable(then: Code, now: Code) -> tuple[dict[str, str], dict[str, str]]:
    """Leaves out modules that a metric imports if one record is from before these were recorded."""
    if then.installed is not None and now.installed is not None:
        return then.files, now.files
    left_out = {name for name in then.files.keys() ^ now.files.keys() if not name.startswith(FINESWEEP)}
    old, new = ({n: sha for n, sha in code.files.items() if n not in left_out} for code in (then, now))
    return old, new


def _machine(then: Provenance, now: Provenance) -> Iterator[Change]:
    for change in _leaves("machine", "", dump(then.machine), dump(now.machine)):
        is_hint = change.what in ("platform", "python")  # not the CPU's name, by which MKL chooses kernels
        yield replace(change, may_matter=not is_hint)


def _packages(then: Provenance, now: Provenance) -> Iterator[Change]:
    adapted = ["peft"] if then.config.get("peft") or now.config.get("peft") else []
    for change in _leaves("packages", "", then.packages, now.packages):
        computes = change.what in (*COMPUTING, *adapted) or change.what.startswith("nvidia-")
        yield replace(change, what=f"package {change.what}", may_matter=computes)


def _leaves(section: str, prefix: str, then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Change]:
    """Yields the differing values of nested dictionaries, named by their dotted paths after `prefix`."""
    for key in dict.fromkeys([*then, *now]):
        pair = then.get(key), now.get(key)
        if pair[0] == pair[1]:
            continue
        if all(value is None or isinstance(value, dict) for value in pair):
            yield from _leaves(section, f"{prefix}{key}.", pair[0] or {}, pair[1] or {})
        else:
            yield Change(section, prefix + key, *pair)


def cause(changes: list[Change]) -> str:
    """Names the most likely cause of a different result, for people."""
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
    """Shortens a hash, for people."""
    text = str(value)
    is_hash = len(text) in (40, 64) and set(text) <= set("0123456789abcdef")
    return text[:SHORT] if is_hash else text
