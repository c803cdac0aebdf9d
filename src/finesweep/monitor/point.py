"""Writes a trial's point shortly, for lines and tables: ``lr=1.3e-3 epochs=4 batch=64``."""

from collections.abc import Collection, Mapping
from typing import Any

NAMES = {
    "optimizer.learning_rate": "lr",
    "optimizer.weight_decay": "decay",
    "optimizer.warmup_steps": "warmup",
    "trainer.num_train_epochs": "epochs",
    "trainer.per_device_train_batch_size": "batch",
    "trainer.gradient_accumulation_steps": "accumulate",
}


def short(params: Mapping[str, Any]) -> str:
    """Writes each parameter by a name that no other one of the point has, and numbers in three digits."""
    return " ".join(f"{_name(key, params)}={_value(value)}" for key, value in params.items())


def _name(key: str, keys: Collection[str]) -> str:
    """Returns the well-known short name of a key, or else its shortest end that names it alone."""
    if key in NAMES:
        return NAMES[key]
    parts = key.split(".")
    taken = [NAMES.get(other, other) for other in keys if other != key]
    ends = (".".join(parts[start:]) for start in range(len(parts) - 1, 0, -1))
    return next((end for end in ends if not any(f".{name}".endswith(f".{end}") for name in taken)), key)


def _value(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    if value == 0 or 0.01 <= abs(value) < 1000:
        return f"{value:.3g}"
    digits, _, exponent = f"{value:.2e}".partition("e")
    return (
        f"{digits.rstrip('0').rstrip('.')}e{int(exponent)}" if exponent else digits
    )  # inf and nan have none
