"""Tasks and evaluations, made of nothing but a config and arrays."""

from types import SimpleNamespace
from typing import Any

import numpy as np

from finesweep.config.run import DataConfig, ProblemType
from finesweep.tasks import Scorer, Task, task_of

CLASSIFICATION, REGRESSION = ProblemType.classification, ProblemType.regression
MULTI_LABEL, TOKENS = ProblemType.multi_label_classification, ProblemType.token_classification
USUAL = {
    CLASSIFICATION: "accuracy",
    REGRESSION: "pearson",
    MULTI_LABEL: "f1_micro",
    TOKENS: "span_f1",
}
NAMES = {
    CLASSIFICATION: ["no", "yes"],
    REGRESSION: ["value"],
    MULTI_LABEL: ["price", "quality", "shipping"],
    TOKENS: ["B-PER", "I-PER", "O"],
}


def task(problem_type: ProblemType = CLASSIFICATION, **keys: Any) -> Task:
    keys = {"metric": USUAL[problem_type], "text_columns": ["text"], **keys}
    return task_of(DataConfig(name="test", problem_type=problem_type, **keys))


def evaluation(outputs: object, labels: object) -> Any:
    """`Trainer` fills an `EvalPrediction`; of it only these two fields are read."""
    return SimpleNamespace(predictions=outputs, label_ids=np.asarray(labels))


def scores(
    outputs: object, labels: object, names: list[str] | int = 2, of: Task | None = None, more: Any = ()
) -> dict[str, float]:
    """What a run of this task logs for these outputs; `names` may be how many labels there are."""
    of = of or task()
    if isinstance(names, int):
        names = NAMES[CLASSIFICATION] if names == 2 else [str(index) for index in range(names)]
    return Scorer(of, names, more)(evaluation(outputs, labels))
