"""Checks every model of a sweep before its first trial, and tries each out in a process of its own."""

import sys
from collections.abc import Sequence
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path

from finesweep.config.run import RunConfig
from finesweep.data import Splits
from finesweep.errors import ModelError
from finesweep.io.terminal import show
from finesweep.training.preflight import check_model, check_peft
from finesweep.training.tried import marker
from finesweep.worker.isolation import in_fresh_process


def check_models(configs: Sequence[RunConfig], splits: Splits) -> None:
    """Raises: ModelError or ConfigError for a model that no trial could train.

    Models that are built from sizes are not tried out here: rules know all that can be wrong.
    """
    for config in configs:
        check_model(config.model)
        check_peft(config)
        if config.model.name_or_path is None:
            _check_vocabulary(config, splits)
    loaded = {
        marker(config, splits.labels): config for config in configs if config.model.name_or_path is not None
    }
    untried = [config for file, config in loaded.items() if not file.exists()]
    if not untried:
        return
    names = ", ".join(dict.fromkeys(str(config.model.name_or_path) for config in untried))
    show(f"trying out one batch with {names}", sys.stderr)
    try:
        in_fresh_process(partial(_try_out, untried))  # this process does without torch
    except BrokenProcessPool as error:
        raise ModelError(
            f"model.name_or_path: {names}: the process that tried out one batch was killed; is there enough "
            "memory? A smaller model.max_length may help"
        ) from error


def _check_vocabulary(config: RunConfig, splits: Splits) -> None:
    from finesweep.training.vocabulary import check_vocab_size

    assert config.model.architecture is not None  # `check_model` refuses a config with neither of the two
    size, cache_dir = config.model.architecture.vocab_size, Path(config.cache_dir)
    check_vocab_size(splits.train, config.data.text_columns, size, cache_dir)


def _try_out(configs: Sequence[RunConfig]) -> None:
    from finesweep.training.tryout import load_and_try_out

    load_and_try_out(configs)
