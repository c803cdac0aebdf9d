"""What the numbers and names of a run's config may be, one rule a key."""

import math
import re
from collections.abc import Callable
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from finesweep.errors import ConfigError

if TYPE_CHECKING:
    from finesweep.config import RunConfig

Rule = tuple[Callable[[Any], object], str]  # whether a value is fine, and what is legal

# The schedules of transformers' `SchedulerType` that need no arguments of their own.
SCHEDULES = ("linear", "cosine", "constant", "constant_with_warmup", "inverse_sqrt")


def _number(fine: Callable[[float], bool]) -> Callable[[float], bool]:
    return lambda value: math.isfinite(value) and fine(value)


POSITIVE: Rule = (_number(lambda value: value > 0), "a number above 0")
NOT_NEGATIVE: Rule = (_number(lambda value: value >= 0), "0 or more")
BELOW_ONE: Rule = (_number(lambda value: 0 <= value < 1), "0 or more, below 1")
COUNT: Rule = (lambda value: value >= 1, "a whole number, 1 or more")
NAME: Rule = (re.compile(r"[A-Za-z0-9][\w.-]{0,63}").fullmatch, "up to 64 letters, digits, '.', '_' and '-'")

RULES: dict[str, Rule] = {
    "optimizer.learning_rate": POSITIVE,
    "optimizer.weight_decay": NOT_NEGATIVE,
    "optimizer.adam_beta1": BELOW_ONE,
    "optimizer.adam_beta2": BELOW_ONE,
    "optimizer.adam_epsilon": POSITIVE,
    "optimizer.momentum": BELOW_ONE,
    "optimizer.warmup_steps": (NOT_NEGATIVE[0], "a number of steps, or below 1 a share of all steps"),
    "optimizer.lr_scheduler_type": (SCHEDULES.__contains__, ", ".join(SCHEDULES)),
    "optimizer.max_grad_norm": (NOT_NEGATIVE[0], "0 (no clipping) or more"),
    "trainer.num_train_epochs": POSITIVE,
    "trainer.per_device_train_batch_size": COUNT,
    "trainer.per_device_eval_batch_size": COUNT,
    "trainer.gradient_accumulation_steps": COUNT,
    "trainer.evals_per_epoch": COUNT,
    "trainer.early_stopping_patience": COUNT,
    "trainer.threads": COUNT,
    "trainer.device": (re.compile(r"auto|cpu|cuda(:\d+)?").fullmatch, "auto, cpu, cuda, cuda:0, cuda:1, ..."),
    "model.name": NAME,
    "model.max_length": (lambda value: value >= 8, "8 tokens or more"),
    "model.dropout": BELOW_ONE,
    "data.name": NAME,
    "data.holdout": (_number(lambda value: 0 < value < 1), "a share between 0 and 1"),
    "data.demo_rows": (lambda value: value >= 100, "100 rows or more"),
    "tracking.artifacts": (lambda value: "://" not in value, "a folder; a server keeps them where it wants"),
    "seed": (lambda value: 0 <= value < 2**32, "0 to 4294967295"),
}


def check_values(config: "RunConfig") -> None:
    """Keys that may be null are checked when they are not. Raises: ConfigError."""
    for key, (fine, legal) in RULES.items():
        value = attrgetter(key)(config)
        if value is not None and not fine(value):
            raise ConfigError.at(key, value, legal)
