"""Turns Hydra's sweep grammar into Optuna's distributions.

tag(log, interval(1e-5, 1e-3))   a float between, both ends included; whole numbers for a whole-number key
int(interval(1, 5))              a whole number between, both ends included
range(1, 6)                      1 2 3 4 5: Python's meaning, the end is left out
choice(8, 16, 32), or 8,16,32    one of these
glob(bert-*)                     every option of a config group that matches
"""

import logging
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from finesweep.config.study import PROCESSES
from finesweep.errors import ConfigError
from finesweep.study.encode import encode_stored, stored

log = logging.getLogger(__name__)
FIXED = ("data", "tracking", "cache_dir", "predict", "hydra", "sweep")  # the same for every trial of a study


def distribution(override: Override, key_type: Any = Any) -> BaseDistribution:
    """Makes the distribution of one dimension. key_type: the type of its key in the schema.

    Raises: ConfigError for a reversed interval, an empty choice, a key that all trials share, and an interval
    or a range whose values are not of the key's type.
    """
    key = override.key_or_group
    if key.replace("/", ".").split(".")[0] in FIXED or key == PROCESSES:
        raise ConfigError(
            f"{key}: cannot be swept; all trials of a study share it. Start one sweep for each value"
        )
    if override.is_delete():
        raise ConfigError(f"~{key}: a deletion cannot be swept; legal: {key}=...")
    if override.is_interval_sweep():
        return _interval(key, override.value(), key_type)
    if override.is_range_sweep():
        return _range(key, override.value(), key_type)
    if not override.is_sweep_override():  # a value: the only choice
        return CategoricalDistribution([stored(override.value())])
    return _choice(key, _values(override), key_type)


def _values(override: Override) -> Iterable[Any]:
    """Lists the values of a choice in the order given, also under shuffle(...)."""
    sweep = override.value()
    if isinstance(sweep, ChoiceSweep) and sweep.shuffle:
        _say_unshuffled(override.key_or_group)
        override = replace(override, _value=replace(sweep, shuffle=False))
    return map(Override._convert_value, override.sweep_iterator())


def _say_unshuffled(key: str) -> None:
    log.warning("%s: shuffle(...) has no effect: the sampler decides which value comes when", key)


def _choice(key: str, values: Iterable[Any], key_type: Any) -> BaseDistribution:
    choices: dict[Any, Any] = {}
    for value in map(stored, values):
        known = choices.setdefault(value, value)
        if key_type not in (bool, int, float) and encode_stored(known) != encode_stored(value):
            raise ConfigError(
                f"{key}: {known!r} and {value!r} are one value to Optuna; legal: different ones, or quoted "
                f"ones, such as '\"{known}\"'"
            )
    if not choices:
        raise ConfigError(f"{key}: an empty choice; legal: choice(a, b, ...), interval(a, b), range(a, b)")
    return CategoricalDistribution(list(choices))


def _interval(key: str, sweep: Any, key_type: Any) -> BaseDistribution:
    assert isinstance(sweep, IntervalSweep)
    low, high, is_log = sweep.start, sweep.end, _is_log(key, sweep.tags)
    text = f"interval({low}, {high})"
    if low is None or high is None or not -math.inf < low < high < math.inf:
        raise ConfigError.at(key, text, "interval(low, high) with low < high")
    if is_log and low <= 0:
        raise ConfigError.at(key, f"tag(log, {text})", "an interval above 0 under tag(log, ...)")
    if key_type not in (int, float, Any):
        raise ConfigError.at(key, text, "choice(a, b, ...): the values of this key are not numbers")
    if key_type is int and not (float(low).is_integer() and float(high).is_integer()):
        raise ConfigError.at(key, text, "an interval between whole numbers, for a whole-number key")
    is_cast = isinstance(low, int) and isinstance(high, int)  # int(interval(...))
    if is_cast or key_type is int:
        return IntDistribution(int(low), int(high), log=is_log)
    return FloatDistribution(float(low), float(high), log=is_log)


def _range(key: str, sweep: Any, key_type: Any) -> BaseDistribution:
    assert isinstance(sweep, RangeSweep)
    if sweep.shuffle:
        _say_unshuffled(key)
    text = f"range({sweep.start}, {sweep.stop}, {sweep.step})"
    low, high, step = _ends_of_range(key, sweep, text)
    is_log = _is_log(key, sweep.tags)
    if is_log and (low <= 0 or step != 1):
        raise ConfigError.at(key, f"tag(log, {text})", "a range above 0 with step 1 under tag(log, ...)")
    if key_type is int and not low.denominator == step.denominator == 1:
        raise ConfigError.at(key, text, "a range of whole numbers, for a whole-number key")
    if key_type is int or all(isinstance(value, int) for value in (sweep.start, sweep.stop, sweep.step)):
        return IntDistribution(int(low), int(high), step=int(step), log=is_log)
    return FloatDistribution(float(low), float(high), step=float(step))


def _ends_of_range(key: str, sweep: RangeSweep, text: str) -> tuple[Fraction, Fraction, Fraction]:
    """Returns the lowest and the highest value, and the step between values.

    They are exact for the digits as written: in binary, 0, 0.3, 0.6, 0.9 are not three steps of 0.3.
    """
    try:
        start, stop, step = (Fraction(str(value)) for value in (sweep.start, sweep.stop, sweep.step))
        steps = math.ceil((stop - start) / step) - 1
    except (ValueError, ZeroDivisionError):  # nan or inf; a step of 0
        steps = -1
    if steps < 0:
        raise ConfigError.at(key, text, "range(start, stop, step) that holds a value; the stop is left out")
    low, high = sorted((start, start + steps * step))
    return low, high, abs(step)


def _is_log(key: str, tags: set[str]) -> bool:
    if tags - {"log"}:
        raise ConfigError.at(key, f"tag({', '.join(sorted(tags))}, ...)", "tag(log, ...)")
    return "log" in tags


def choices(dimension: BaseDistribution) -> list[Any]:
    """Lists the options of a choice; none for another distribution."""
    return list(dimension.choices) if isinstance(dimension, CategoricalDistribution) else []


def ends(dimension: BaseDistribution) -> list[Any]:
    """Lists the values to check before a sweep starts: every option of a choice, or both ends of a range."""
    if isinstance(dimension, CategoricalDistribution):
        return list(dimension.choices)
    assert isinstance(dimension, (IntDistribution, FloatDistribution))
    return [dimension.low, dimension.high]


def parse_point(texts: Sequence[str]) -> dict[str, Any]:
    """Reads `key=value` in Hydra's grammar, by key. Raises: ConfigError; Hydra's error for a broken text."""
    point: dict[str, Any] = {}
    for override in OverridesParser.create().parse_overrides(list(texts)):
        if override.is_sweep_override() or override.is_delete():
            raise ConfigError(f"{override.input_line}: legal: KEY=VALUE, with one value")
        if override.key_or_group in point:
            raise ConfigError(f"{override.key_or_group}: is given twice; legal: each key once")
        point[override.key_or_group] = stored(override.value())
    return point
