"""What a run is made of, as dataclasses; the only reader of Hydra's `DictConfig`.

Hydra type-checks every key against these classes at composition. `parse_config` turns the result into
plain dataclasses and checks the values; below it nothing knows of Hydra.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf, flag_override
from omegaconf.errors import ValidationError
from yaml import YAMLError

from finesweep.checks import check_values
from finesweep.errors import ConfigError

GLUE_TASKS = ("cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "ax", "qnli", "rte", "wnli")


class Init(Enum):
    pretrained = "pretrained"
    random = "random"


class ProblemType(Enum):
    classification = "classification"
    regression = "regression"


class Direction(Enum):
    maximize = "maximize"
    minimize = "minimize"


class OptimizerName(Enum):
    adamw = "adamw"
    adafactor = "adafactor"
    sgd = "sgd"


class Precision(Enum):
    auto = "auto"
    fp32 = "fp32"
    bf16 = "bf16"
    fp16 = "fp16"


@dataclass
class Architecture:
    """Sizes of a BERT that is built here instead of read from a checkpoint; names are `BertConfig`'s."""

    vocab_size: int = MISSING
    hidden_size: int = MISSING
    num_hidden_layers: int = MISSING
    num_attention_heads: int = MISSING
    intermediate_size: int = MISSING


@dataclass
class ModelConfig:
    name: str = MISSING
    name_or_path: str | None = None  # hub id or local folder; null: `architecture` is built instead
    revision: str | None = None
    init: Init = Init.pretrained
    max_length: int = 128  # tokens, special ones included
    dropout: float | None = None  # null: the checkpoint's own
    architecture: Architecture | None = None


@dataclass
class DataConfig:
    name: str = MISSING  # also the MLflow experiment's name
    glue_task: str | None = None
    path: str | None = None  # official GLUE download, or the user's table(s)
    text_columns: list[str] = MISSING
    label_column: str = "label"
    labels: list[str] | None = None  # names in the order of their ids; null: sorted names found in train
    problem_type: ProblemType = ProblemType.classification
    metric: str = MISSING
    direction: Direction = Direction.maximize
    train_split: str = "train"
    eval_split: str | None = "validation"
    final_eval_split: str | None = None  # scored once, with the best checkpoint
    test_split: str | None = None  # unlabelled; predicted for the submission
    holdout: float | None = None  # share of train that selects; eval_split is then scored once
    demo_rows: int = 4000  # training rows that data=demo generates


@dataclass
class OptimizerConfig:
    name: OptimizerName = OptimizerName.adamw
    learning_rate: float = 5e-5
    weight_decay: float = 0.0
    adam_beta1: float = 0.9
    adam_beta2: float = 0.999
    adam_epsilon: float = 1e-8
    momentum: float = 0.0  # sgd only
    warmup_steps: float = 0.1  # below 1: a share of all steps
    lr_scheduler_type: str = "linear"
    max_grad_norm: float = 1.0


@dataclass
class TrainerConfig:
    num_train_epochs: float = 3.0
    per_device_train_batch_size: int = 16
    per_device_eval_batch_size: int = 64
    gradient_accumulation_steps: int = 1
    evals_per_epoch: int = 1
    early_stopping_patience: int | None = None  # evaluations without a better one
    precision: Precision = Precision.auto
    device: str = "auto"  # auto, cpu, cuda, cuda:N
    deterministic: bool = True  # on a GPU: the same run gives the same weights, at some cost in speed
    threads: int | None = None  # null: all cores, or one for each of a sweep's workers


@dataclass
class TrackingConfig:
    uri: str = "sqlite:///mlruns/mlflow.db"
    artifacts: str = "mlruns/artifacts"
    system_metrics: bool = True

    @property
    def is_server(self) -> bool:
        """An MLflow server keeps artifacts in a place of its own; `artifacts` is not used then."""
        return self.uri.startswith("http")


@dataclass
class RunConfig:
    """The whole of one run. `sweep` names the file under `sweeps/`; its content lies in `hydra.sweeper`."""

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    seed: int = 42
    cache_dir: str = "mlruns/cache"  # encoded data and trained vocabularies, shared by all workers
    predict: bool = True  # predict data.test_split after training


def register_schema() -> None:
    """Makes `RunConfig` the base of `conf/config.yaml`."""
    ConfigStore.instance().store(name="run_config", node=RunConfig)


def parse_config(cfg: DictConfig) -> RunConfig:
    """Hydra's config as plain dataclasses, every value checked.

    Raises: ConfigError, naming the key, its value and what is legal.
    """
    cfg = copy.deepcopy(cfg)
    with flag_override(cfg, ["struct", "readonly"], False):
        cfg.pop("hydra", None)
    missing = sorted(OmegaConf.missing_keys(cfg))
    if missing:
        raise ConfigError(f"{missing[0]}: no value; set it on the command line, {missing[0]}=...")
    config = OmegaConf.to_object(cfg)
    assert isinstance(config, RunConfig)
    check_values(config)
    return config


def from_dict(*plain: dict[str, Any], overrides: Sequence[str] = ()) -> RunConfig:
    """What `to_dict` gave, later dictionaries over earlier ones, and over them ``key=value`` overrides.

    Raises: ConfigError, or OmegaConf's own error for a key that there is not.
    """
    merged = OmegaConf.merge(OmegaConf.structured(RunConfig), *plain)
    for text in overrides:
        try:
            merged = OmegaConf.merge(merged, OmegaConf.from_dotlist([text]))
        except (ValidationError, YAMLError) as error:
            problem = str(error).splitlines()[0]
            raise ConfigError(f"{text}: {problem}; legal: one key and its value, as seed=43") from error
    config = OmegaConf.to_object(merged)
    assert isinstance(config, RunConfig)
    check_values(config)
    return config


def to_dict(config: RunConfig) -> dict[str, Any]:
    """The resolved config as plain nested values, for YAML and JSON."""
    container = OmegaConf.to_container(OmegaConf.structured(config), enum_to_str=True)
    assert isinstance(container, dict)
    return {str(key): value for key, value in container.items()}


def to_yaml(config: RunConfig) -> str:
    return OmegaConf.to_yaml(OmegaConf.create(to_dict(config)))


def flat(config: RunConfig) -> dict[str, Any]:
    """The resolved config under dotted keys: ``{"optimizer.learning_rate": 1e-4, ...}``."""

    def walk(prefix: str, node: dict[str, Any]) -> dict[str, Any]:
        leaves: dict[str, Any] = {}
        for key, value in node.items():
            leaves |= walk(f"{prefix}{key}.", value) if isinstance(value, dict) else {prefix + key: value}
        return leaves

    return walk("", to_dict(config))
