"""Says how the checkpoint of a run is used as a pipeline, for MLflow."""

from finesweep.config.run import ProblemType, RunConfig
from finesweep.tasks import task_of
from finesweep.tracking import Pipeline


def pipeline_of(config: RunConfig) -> Pipeline:
    """Describes the pipeline. The model of a standardized regression answers in the unit that it learned."""
    task = task_of(config.data)
    return Pipeline(
        task="token-classification" if task.is_pretokenized else "text-classification",
        model_class=task.model_class,
        base_model=config.model.name,
        max_length=config.model.max_length,
        is_pair=len(config.data.text_columns) == 2,
        all_scores=config.data.problem_type is ProblemType.multi_label_classification,
    )
