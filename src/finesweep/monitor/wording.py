"""Writes points, numbers, durations and commands for a person, in lines and tables."""

import shlex
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from finesweep.config.run import TrackingConfig
from finesweep.config.study import StudyConfig

STORAGE, TRACKING = StudyConfig().storage, TrackingConfig().uri  # the usual stores

NAMES = {
    "optimizer.learning_rate": "lr",
    "optimizer.weight_decay": "decay",
    "optimizer.warmup_steps": "warmup",
    "trainer.num_train_epochs": "epochs",
    "trainer.per_device_train_batch_size": "batch",
    "trainer.gradient_accumulation_steps": "accumulate",
}


def short(params: Mapping[str, Any]) -> str:
    """Writes a point by unique short names, in three digits: ``lr=1.3e-3 epochs=4 batch=64``."""
    return " ".join(f"{_name(key, params)}={_value(value)}" for key, value in params.items())


def _name(key: str, keys: Collection[str]) -> str:
    """Returns the well-known short name of a key, or else its shortest end that names it alone."""
    if key in NAMES:
        return NAMES[key]
    parts = key.split(".")
    taken = [NAMES.get(other, other) for other in keys if other != key]
    ends = (".".join(parts[start:]) for start in range(len(parts) - 1, 0, -1))
    return next((end for end in ends if not any(f".{name}".endswith(f".{end}") for name in taken)), key)


def axis_labels(names: Iterable[str]) -> dict[str, str]:
    """Shortens Optuna's names for an axis: ``optimizer.momentum|optimizer=sgd`` in two lines.

    Names that would be the same stay whole.
    """
    full = list(dict.fromkeys(names))
    short = ["\n".join(part.rpartition(".")[2] for part in name.split("|")) for name in full]
    twice = {label for label, count in Counter(short).items() if count > 1}
    return {
        name: name.replace("|", "\n") if label in twice else label
        for name, label in zip(full, short, strict=True)
    }


def _value(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    if value == 0 or 0.01 <= abs(value) < 1000:
        return f"{value:.3g}"
    digits, _, exponent = f"{value:.2e}".partition("e")
    if not exponent:  # inf and nan have none
        return digits
    return f"{digits.rstrip('0').rstrip('.')}e{int(exponent)}"


def scalar(value: Any) -> str:
    """Writes the value of a parameter by itself: numbers with four significant digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def number(value: float) -> str:
    """Writes a score with four decimals; one near 0, such as the error of small targets, in two digits."""
    if 0 < abs(value) < 1e-3:
        return f"{value:.2g}"
    return f"{value:.4f}" if abs(value) < 100 else f"{value:.1f}"


def clock(seconds: float | None) -> str:
    """Writes seconds as 0:07, 12:07, 3:12:07 or 2d 03:12; - for unknown."""
    if seconds is None:
        return "-"
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    if hours >= 24:
        return f"{hours // 24}d {hours % 24:02}:{minute:02}"
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def duration(seconds: float) -> str:
    """Writes a duration as 12 s, 3 min 20 s or 2 h 5 min."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 1:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def row_lines(rows: Iterable[tuple[str, str]]) -> list[str]:
    """Writes one line for each name and text, without those whose text is empty."""
    return [f"{name + ':':14}{text}" for name, text in rows if text]


def command_lines(commands: Mapping[str, str]) -> list[str]:
    """Writes what each command is for, and the command in a line of its own, to be copied whole."""
    return [line for purpose, command in commands.items() for line in (f"{purpose}:", f"  {command}")]


def store_options(*, storage: str = STORAGE, tracking_uri: str = TRACKING) -> str:
    """Returns the options for a command, a space before each; an empty text for the usual stores."""
    given = [("--storage", storage, STORAGE), ("--tracking-uri", tracking_uri, TRACKING)]
    return "".join(f" {option} {shlex.quote(uri)}" for option, uri, usual in given if uri != usual)
