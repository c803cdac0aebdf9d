"""Checks what a study stands on, before anything is written: rows, models, both stores, and the machine."""

from collections.abc import Callable

from finesweep import tracking
from finesweep.config.study import Ensemble
from finesweep.data import Splits
from finesweep.data.source import LABEL
from finesweep.errors import ConfigError
from finesweep.machine.gpus import needs_torch
from finesweep.machine.placement import Placement
from finesweep.study.request import SweepRequest
from finesweep.study.storage import check_place, open_storage
from finesweep.study.tables import check_tables
from finesweep.tracking import open_store
from finesweep.training.preflight import check_data
from finesweep.worker.isolation import where_torch_is
from finesweep.worker.models import check_models
from finesweep.worker.words import check_words

Plan = Callable[[], tuple[int, Placement]]  # says how many workers, and where


def check_ground(sweep: SweepRequest, plan: Plan) -> tuple[Splits, int, Placement]:
    """Reads the data, tries out the models, opens both stores, and plans the workers.

    Raises: ConfigError, DataError, ModelError.
    """
    splits = check_data(sweep.run)
    check_ensemble(sweep, splits)
    check_confirmation(sweep)
    for which, rows in (("evaluation rows", splits.eval), ("rows of the final score", splits.final_eval)):
        if rows is not None:
            sweep.check_objectives(splits.labels or ["value"], rows[LABEL][:], which)
    check_models(sweep.models, splits)
    check_words(sweep.models, sweep.space)
    tracking.import_store(sweep.run.tracking)  # while the server imports torch
    workers, placement = where_torch_is(plan) if needs_torch(sweep.run.trainer) else plan()
    storage = sweep.config.study.storage
    check_place(storage)
    open_store(sweep.run.tracking)  # first: what cannot be opened then leaves no database of the other store
    check_tables(open_storage(storage), storage)
    return splits, workers, placement


def check_confirmation(sweep: SweepRequest) -> None:
    """Raises: ConfigError if trials that are confirmed with new seeds could have been chosen by these."""
    top_k = sweep.config.study.confirm.top_k
    if top_k and any(dimension.key == "seed" for dimension in sweep.space):
        legal = "0 where seed is searched, for the new seeds may be among those; or seed=NUMBER, one for all"
        raise ConfigError.at("hydra.sweeper.study.confirm.top_k", top_k, legal)


def check_ensemble(sweep: SweepRequest, splits: Splits) -> None:
    """Raises: ConfigError for an ensemble of adapters, or without rows that could say if it is better."""
    kind = sweep.config.study.ensemble
    if kind is Ensemble.none:
        return
    key = "hydra.sweeper.study.ensemble"
    if splits.final_eval is None or splits.shared:
        legal = "none, or with rows that choose nothing: data.holdout=0.1, or data.final_eval_split"
        if splits.shared:
            legal += f"; {splits.shared} of the final rows are trained on or select"
        raise ConfigError.at(key, kind.value, legal)
    if max(sweep.config.keep_checkpoints, sweep.config.study.confirm.top_k) < 2:
        legal = f"2 or more with {key}={kind.value}, which needs another checkpoint beside the winner's"
        raise ConfigError.at("hydra.sweeper.keep_checkpoints", sweep.config.keep_checkpoints, legal)
    if sweep.run.peft is not None:
        raise ConfigError.at(key, kind.value, "none with peft: checkpoints of adapters are not put together")
