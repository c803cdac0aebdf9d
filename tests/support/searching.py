"""Studies in memory, as a sweep would have left them: of any size, with trials that ended in every way."""

import optuna
from optuna.storages import BaseStorage
from optuna.study import Study
from optuna.trial import TrialState, create_trial

from finesweep.hooks import RunState
from finesweep.study.records import Outcome, Progress, TrialRecord

RATE, BATCH, EPOCHS = (
    "optimizer.learning_rate", "trainer.per_device_train_batch_size", "trainer.num_train_epochs"
)  # fmt: skip
MOMENTUM = "optimizer.momentum|optimizer=sgd"


def study_of(
    n_trials: int,
    name: str = "a",
    objectives: tuple[str, ...] = ("accuracy",),
    choice: str = "adamw",
    storage: BaseStorage | None = None,
) -> Study:
    """A search of complete trials in which every fourth is pruned: rate and epochs decide."""
    study = optuna.create_study(
        study_name=name,
        storage=storage,
        directions=["maximize" if objective == "accuracy" else "minimize" for objective in objectives],
        sampler=optuna.samplers.RandomSampler(seed=0),
    )
    study.set_user_attr("metric", objectives[0])
    study.set_user_attr("objectives", dict.fromkeys(objectives, "-"))
    study.set_user_attr("n_trials", n_trials)
    study.set_user_attr("history", [{"sampler": "random", "pruner": "median", "time": "2026-01-01T00:00:00"}])
    study.set_user_attr(
        "identity", {"data.name": "demo", "model.name": "small", "data.eval content": "e", "seed": 42}
    )
    for number in range(n_trials):
        _train(study, number, objectives, choice)
    return study


def _train(study: Study, number: int, objectives: tuple[str, ...], choice: str) -> None:
    trial = study.ask()
    rate = trial.suggest_float(RATE, 1e-4, 1e-2, log=True)
    trial.suggest_categorical(BATCH, [8, 16, None])
    epochs = trial.suggest_int(EPOCHS, 1, 5)
    if trial.suggest_categorical("optimizer", [choice, "sgd"]) == "sgd":
        trial.suggest_float(MOMENTUM, 0.0, 0.9)
    value = round(0.5 + 0.08 * epochs - abs(rate - 2e-3) * 20, 4)
    is_pruned = number % 4 == 3 and len(objectives) == 1
    record = TrialRecord(trial)
    record.started, record.heartbeat = 100.0 + 10 * number, 109.0 + 10 * number
    record.owner, record.run_id = f"host|boot|ns|{number % 2}|1", f"run{number}"
    record.progress = Progress(step=50 if is_pruned else 100, max_steps=100, trained_steps=100)
    record.overrides = [f"{RATE}={rate}"]
    if is_pruned:
        trial.report(value, 50)
        study.tell(trial, state=TrialState.PRUNED)
    else:
        study.tell(trial, [value, *(float(epochs) for _ in objectives[1:])])


def add(study: Study, state: TrialState, value: float | None = None, **attributes: object) -> int:
    """Adds a trial without a point. Returns its number."""
    attrs = TrialRecord.attributes(**attributes)
    study.add_trial(create_trial(state=state, value=value, user_attrs=attrs))
    return len(study.get_trials(deepcopy=False)) - 1


def confirm(study: Study, values: dict[int, list[float]]) -> None:
    """Adds confirmations with seeds 43, 44, ... of the trials with these numbers."""
    study.set_user_attr("confirm", {"top_k": len(values), "seeds": max(map(len, values.values()))})
    for number, results in values.items():
        for offset, value in enumerate(results, start=1):
            outcome = Outcome(RunState.COMPLETE, [value])
            add(study, TrialState.COMPLETE, value, confirms=number, seed=42 + offset, outcome=outcome)
