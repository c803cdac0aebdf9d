"""Refuses a search among models or lengths that cut off different words, which are then not scored.

Scores over different words cannot be compared, and the one that cuts off most may look best.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from finesweep.config.run import RunConfig
from finesweep.errors import ConfigError
from finesweep.study.grammar import ends
from finesweep.study.space import Space
from finesweep.tasks import task_of
from finesweep.worker.isolation import in_fresh_process

LENGTH = "model.max_length"


class Scored(NamedTuple):
    """Which words of the evaluation rows are scored."""

    words: int
    sha256: str


def check_words(models: Sequence[RunConfig], space: Space) -> None:
    """Raises: ConfigError if trials of the search would be scored on different words."""
    if not task_of(models[0].data).is_pretokenized:
        return
    configs = {repr((one.model, one.data)): one for model in models for one in _lengths(model, space)}
    if len(configs) < 2:
        return
    scored = in_fresh_process(partial(_scored, list(configs.values())))
    if len(set(scored)) > 1:
        found = zip(configs.values(), scored, strict=True)
        counts = "; ".join(f"{_name(config)}: {one.words:,} words" for config, one in found)
        raise ConfigError(
            f"{LENGTH}: trials would be scored on different words of the evaluation rows, for words that "
            f"are cut off are not ({counts}); legal: lengths that cut off no word, or one model and length"
        )


def _lengths(config: RunConfig, space: Space) -> list[RunConfig]:
    """Returns the config, which has the greatest length of the space, and the same with the least one.

    Of lengths under a condition the least ones are left out: other models have them.
    """
    lengths = (ends(one.distribution) for one in space if one.key == LENGTH and not one.when)
    least = min(map(min, lengths), default=None)
    if least is None:
        return [config]
    return [config, replace(config, model=replace(config.model, max_length=least))]


def _name(config: RunConfig) -> str:
    return f"{config.model.name_or_path or config.model.name} with {LENGTH}={config.model.max_length}"


def _scored(configs: Sequence[RunConfig]) -> list[Scored]:
    from finesweep.training.inputs import load_inputs

    return [Scored(*load_inputs(config).scored_words) for config in configs]
