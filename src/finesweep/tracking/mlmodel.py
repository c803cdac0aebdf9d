"""The file `MLmodel` and its companions, by which MLflow loads and serves a checkpoint as a pipeline."""

import platform
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

TOKENIZER_FOLDER = "components/tokenizer"  # where MLflow looks; the checkpoint has it beside the weights
PACKAGES = ("torch", "transformers", "safetensors")  # and mlflow itself
NOT_THE_TOKENIZERS = ("config.json", "manifest.json", "generation_config.json")
BATCH_SIZE = 32  # of a pipeline, which takes rows one by one otherwise
CONDA, PYTHON, REQUIREMENTS = "conda.yaml", "python_env.yaml", "requirements.txt"


@dataclass(frozen=True)
class Pipeline:
    """How transformers' `pipeline` uses a checkpoint."""

    task: str  # text-classification or token-classification
    model_class: str  # a class of transformers
    base_model: str  # the name of the model that was fine-tuned
    max_length: int  # tokens, to which texts are cut as in training
    is_pair: bool  # whether a row has two texts
    all_scores: bool  # whether the answer has the score of each label, not only of the best one

    def stored(self) -> dict[str, Any]:
        """Returns the fields, ready for JSON."""
        return asdict(self)


def is_tokenizer_file(path: Path) -> bool:
    return (
        path.is_file() and path.suffix in (".json", ".txt", ".model") and path.name not in NOT_THE_TOKENIZERS
    )


def write_mlmodel(
    folder: Path, pipeline: dict[str, Any], run_id: str, model_id: str, size_bytes: int
) -> None:
    """Writes MLmodel, conda.yaml, python_env.yaml and requirements.txt, as `mlflow.transformers` does.

    pipeline: the fields of a `Pipeline`.
    """
    from mlflow.models import Model, ModelSignature  # heavy
    from mlflow.types import ColSpec, DataType, Schema

    made = Pipeline(**pipeline)
    texts = Schema([ColSpec(DataType.string, name) for name in ("text", "text_pair")[: 1 + made.is_pair]])
    model = Model(
        run_id=run_id,
        model_id=model_id,
        model_size_bytes=size_bytes,
        signature=ModelSignature(inputs=texts),
    )
    model.add_flavor(
        "transformers",
        transformers_version=version("transformers"),
        code=None,
        task=made.task,
        instance_type="".join(word.title() for word in made.task.split("-")) + "Pipeline",
        pipeline_model_type=made.model_class,
        source_model_name=made.base_model,
        model_binary=".",  # the weights lie beside MLmodel
        components=["tokenizer"],
        tokenizer_type="AutoTokenizer",
    )
    model.add_flavor(  # as `mlflow.pyfunc.add_to_model` does, whose import warns and takes a second
        "python_function",
        loader_module="mlflow.transformers",
        python_version=platform.python_version(),
        env={"conda": CONDA, "virtualenv": PYTHON},
        config=_settings(made),
    )
    _write_packages(folder)
    model.save(str(folder / "MLmodel"))


def _write_packages(folder: Path) -> None:
    from mlflow.utils.environment import _mlflow_conda_env, _PythonEnv

    pins = [f"{name}=={version(name).partition('+')[0]}" for name in PACKAGES]
    _mlflow_conda_env(path=str(folder / CONDA), additional_pip_deps=pins)
    _PythonEnv.current().to_yaml(str(folder / PYTHON))
    (folder / REQUIREMENTS).write_text("\n".join([f"mlflow=={version('mlflow')}", *pins]) + "\n")


def _settings(pipeline: Pipeline) -> dict[str, Any]:
    """Returns the arguments of each call of the pipeline."""
    if pipeline.task != "text-classification":  # it cuts texts at the tokenizer's own limit
        return {}
    settings: dict[str, Any] = {
        "truncation": True,
        "max_length": pipeline.max_length,
        "batch_size": BATCH_SIZE,
    }
    return settings | ({"top_k": None} if pipeline.all_scores else {})
