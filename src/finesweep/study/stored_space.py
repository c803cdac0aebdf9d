"""Writes a search space as JSON, so that who has only the study can check a point, without any config."""

import json
from collections.abc import Sequence
from typing import Any

from optuna.distributions import distribution_to_json, json_to_distribution

from finesweep.study.space import Dimension, Space


def dump(space: Space) -> list[dict[str, Any]]:
    return [
        dimension.__dict__ | {"distribution": json.loads(distribution_to_json(dimension.distribution))}
        for dimension in space
    ]


def load(stored: Sequence[dict[str, Any]]) -> Space:
    return tuple(
        Dimension(**one | {"distribution": json_to_distribution(json.dumps(one["distribution"]))})
        for one in stored
    )
