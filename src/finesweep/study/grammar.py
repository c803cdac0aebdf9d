"""Turns Hydra's sweep grammar into Optuna's distributions, and Optuna's values into Hydra overrides.

tag(log, interval(1e-5, 1e-3))   a float between, both ends included; whole numbers for a whole-number key
range(1, 6)                      1 2 3 4 5: Python's meaning, the end is left out
choice(8, 16, 32), or 8,16,32    one of these
glob(bert-*)                     every option of a config group that matches
"""

from typing import Any

from hydra.core.override_parser.types import IntervalSweep, Override, Quote, QuotedString, RangeSweep
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from finesweep.errors import ConfigError

FIXED = ("data", "tracking", "cache_dir", "predict", "hydra", "sweep")  # the same for every trial of a study


def distribution(override: Override, whole: bool) -> BaseDistribution:
    """Makes the distribution of one dimension. `whole`: its key holds whole numbers.

    Raises: ConfigError for a reversed interval, an empty choice, or a key that all trials share.
    """
    key = override.key_or_group
    if key.replace("/", ".").split(".")[0] in FIXED:
        raise ConfigError(
            f"{key}: cannot be swept; all trials of a study share it. Start one sweep for each value"
        )
    if override.is_interval_sweep():
        return _interval(key, override.value(), whole)
    if override.is_range_sweep():
        return _range(key, override.value())
    if not override.is_sweep_override():  # a value: the only choice
        return CategoricalDistribution([_plain(override.value())])
    choices = [_plain(value) for value in override.sweep_iterator()]
    if not choices:
        raise ConfigError(f"{key}: an empty choice; legal: choice(a, b, ...), interval(a, b), range(a, b)")
    return CategoricalDistribution(list(dict.fromkeys(choices)))


def _interval(key: str, sweep: Any, whole: bool) -> BaseDistribution:
    assert isinstance(sweep, IntervalSweep)
    low, high, log = sweep.start, sweep.end, _is_log(key, sweep.tags)
    if low is None or high is None or not low < high:
        raise ConfigError.at(key, f"interval({low}, {high})", "interval(low, high) with low < high")
    if log and low <= 0:
        raise ConfigError.at(
            key, f"tag(log, interval({low}, {high}))", "an interval above 0 under tag(log, ...)"
        )
    if whole:
        return IntDistribution(int(low), int(high), log=log)
    return FloatDistribution(float(low), float(high), log=log)


def _range(key: str, sweep: Any) -> BaseDistribution:
    assert isinstance(sweep, RangeSweep)
    values = list(sweep.range())
    text = f"range({sweep.start}, {sweep.stop}, {sweep.step})"
    if not values:
        raise ConfigError.at(key, text, "range(start, stop) that holds a value; the stop is left out")
    low, high, step = min(values), max(values), abs(sweep.step)
    log = _is_log(key, sweep.tags)
    if log and (low <= 0 or step != 1):
        raise ConfigError.at(key, f"tag(log, {text})", "a range above 0 with step 1 under tag(log, ...)")
    if all(isinstance(value, int) for value in values):
        return IntDistribution(low, high, step=1 if log else int(step), log=log)
    return FloatDistribution(float(low), float(high), step=float(step))


def _is_log(key: str, tags: set[str]) -> bool:
    if tags - {"log"}:
        raise ConfigError.at(key, f"tag({', '.join(sorted(tags))}, ...)", "tag(log, ...)")
    return "log" in tags


def _plain(value: Any) -> Any:
    """Gives a value that Optuna can store; a list, which it cannot, becomes text that Hydra parses back."""
    if isinstance(value, QuotedString):
        return value.text
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return Override._get_value_element_as_str(value)


def choices(dimension: BaseDistribution) -> list[Any]:
    """Lists the options of a choice; none for another distribution."""
    return list(dimension.choices) if isinstance(dimension, CategoricalDistribution) else []


def ends(dimension: BaseDistribution) -> list[Any]:
    """Lists the values to check before a sweep starts: every option of a choice, or both ends of a range."""
    if isinstance(dimension, CategoricalDistribution):
        return list(dimension.choices)
    assert isinstance(dimension, (IntDistribution, FloatDistribution))
    return [dimension.low, dimension.high]


def as_overrides(params: dict[str, Any]) -> list[str]:
    """Writes a point, by Hydra's keys, as overrides; a float keeps all its digits."""
    return [f"{key}={_text(value)}" for key, value in params.items()]


def _text(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, str) and not value.startswith(("[", "{")):
        return QuotedString(text=value, quote=Quote.single).with_quotes() if not _bare(value) else value
    return str(value)


def _bare(value: str) -> bool:
    return value.replace("-", "").replace("_", "").replace(".", "").isalnum()
