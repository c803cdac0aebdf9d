"""Rules for config values, each beside its field and what the key means; `check_rules` checks all."""

import copy
import dataclasses
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from finesweep.errors import ConfigError, did_you_mean

RULE, MEANING = "rule", "meaning"  # keys in a field's metadata


@dataclass(frozen=True)
class Rule:
    """Defines which values of a field are legal."""

    allows: Callable[[Any], object]
    legal: str  # the legal values in words, for error messages
    allows_null: bool = True  # matters only where the field's type allows null


def ruled(default: Any, rule: Rule, meaning: str) -> Any:
    """Declares a dataclass field with its default, its rule, and a sentence that `--help` shows."""
    return _field(default, {RULE: rule, MEANING: meaning})


def explained(default: Any, meaning: str) -> Any:
    """Declares a dataclass field whose type is its only rule."""
    return _field(default, {MEANING: meaning})


def _field(default: Any, metadata: dict[str, Any]) -> Any:
    if isinstance(default, (list, dict)):
        return dataclasses.field(default_factory=lambda: copy.copy(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def _finite(allows: Callable[[float], bool]) -> Callable[[float], bool]:
    return lambda value: math.isfinite(value) and allows(value)


POSITIVE = Rule(_finite(lambda value: value > 0), "a number above 0")
NOT_NEGATIVE = Rule(_finite(lambda value: value >= 0), "0 or more")
BELOW_ONE = Rule(_finite(lambda value: 0 <= value < 1), "0 or more, below 1")
SHARE = Rule(_finite(lambda value: 0 < value < 1), "a number between 0 and 1")
COUNT = Rule(lambda value: value >= 1, "a whole number, 1 or more")
WHOLE = Rule(lambda value: value >= 0, "a whole number, 0 or more")
NAME = Rule(re.compile(r"[A-Za-z0-9][\w.-]{0,63}").fullmatch, "up to 64 letters, digits, '.', '_' and '-'")

FILL_IN = "FILL_IN"  # what a file of `conf/cluster/` has in place of an address that only a person knows


def filled_in(legal: str) -> Rule:
    """Allows any text but the placeholder of a file that is to be filled in."""
    return Rule(lambda value: value != FILL_IN, legal)


def one_of(*values: str) -> Rule:
    return Rule(values.__contains__, ", ".join(values))


def matching(pattern: str, legal: str) -> Rule:
    return Rule(re.compile(pattern).fullmatch, legal)


def check_rules(config: Any, prefix: str = "") -> None:
    """Checks every field that has a rule, in nested dataclasses too. Errors name `prefix` before each key.

    Raises: ConfigError for the first value that its rule does not allow.
    """
    for field in dataclasses.fields(config):
        value, key = getattr(config, field.name), f"{prefix}{field.name}"
        rule: Rule | None = field.metadata.get(RULE)
        if dataclasses.is_dataclass(value):
            check_rules(value, f"{key}.")
        elif rule and not (rule.allows_null if value is None else rule.allows(value)):
            hint = did_you_mean(str(value), rule.legal.split(", "))
            raise ConfigError.at(key, value, f"{rule.legal}; {hint}".rstrip("; "))
