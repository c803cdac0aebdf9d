"""The part of a run's config that predictions need; each checkpoint carries it as a file."""

import json
from typing import Any

from finesweep.config.parse import to_dict
from finesweep.config.run import RunConfig

FILE = "finesweep.json"  # in a checkpoint, beside the files that `from_pretrained` reads
KEYS = {
    "data": ("text_columns", "problem_type", "label_columns", "label_separator", "positive_label",
             "threshold", "empty"),
    "model": ("max_length",),
    "trainer": ("per_device_eval_batch_size", "precision", "shortcuts"),
}  # fmt: skip


def trained_with(config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Returns the part of a config, in nested dictionaries, that predictions need; no places, no secrets."""
    return {
        group: {key: config[group][key] for key in keys if key in config.get(group, {})}
        for group, keys in KEYS.items()
    }


def to_json(config: RunConfig) -> str:
    """Returns the content of `FILE`."""
    return json.dumps(trained_with(to_dict(config)), indent=1) + "\n"
