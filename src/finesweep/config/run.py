"""What one run is made of. These classes are the one source of defaults: YAML says only what differs."""

import re
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from omegaconf import MISSING

from finesweep.config.rules import (
    BELOW_ONE,
    COUNT,
    NAME,
    NOT_NEGATIVE,
    POSITIVE,
    SHARE,
    Rule,
    matching,
    one_of,
    ruled,
)

# The schedules of transformers' `SchedulerType` that need no arguments of their own.
SCHEDULES = ("linear", "cosine", "constant", "constant_with_warmup", "inverse_sqrt")
GLUE_TASKS = ("cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "ax", "qnli", "rte", "wnli")


OWN_METRIC = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")  # module:function


def is_own_metric(metric: str) -> bool:
    """Whether `data.metric` names a function of a person's own."""
    return OWN_METRIC.fullmatch(metric) is not None


def metric_key(metric: str) -> str:
    """Gives the name under which a metric is logged: `my_module.my_function` for `my_module:my_function`."""
    return metric.replace(":", ".")


class Init(Enum):
    pretrained = "pretrained"
    random = "random"


class DataSource(Enum):
    """Where rows come from: GLUE's files or the hub's copy, a person's own table, or text made here."""

    glue = "glue"
    table = "table"
    demo = "demo"


class ProblemType(Enum):
    """The types of task; `finesweep.tasks` has one file for each."""

    classification = "classification"
    regression = "regression"
    multi_label_classification = "multi_label_classification"
    token_classification = "token_classification"


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


FREEZE = Rule(
    lambda value: value in ("embeddings", "encoder") or (type(value) is int and value >= 1),
    "null, embeddings, encoder, or how many of the lowest layers (1 or more; the embeddings with them)",
)
CLASS_WEIGHTS = Rule(
    lambda value: value == "balanced" or (isinstance(value, dict) and all(map(_is_weight, value.values()))),
    "null, balanced, or a weight above 0 for each label, as '{fraud: 10, legit: 1}'",
)


def _is_weight(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and POSITIVE.allows(value) is True


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
    name: str = ruled(MISSING, NAME)
    name_or_path: str | None = None  # hub id or local folder; null: `architecture` is built instead
    revision: str | None = None
    init: Init = Init.pretrained
    # tokens, special ones included
    max_length: int = ruled(128, Rule(lambda value: value >= 8, "8 tokens or more"))
    dropout: float | None = ruled(None, BELOW_ONE)  # null: the checkpoint's own
    freeze: Any = ruled(None, FREEZE)  # what is not trained: embeddings, encoder, or the N lowest layers
    gradient_checkpointing: bool = False  # less memory for activations, about a third more time
    architecture: Architecture | None = None


@dataclass
class DataConfig:
    name: str = ruled(MISSING, NAME)  # a label that a person chooses; also the MLflow experiment's name
    source: DataSource = MISSING
    glue_task: str | None = ruled(None, one_of(*GLUE_TASKS))
    path: str | None = None  # official GLUE download, or the user's table(s)
    text_columns: list[str] = MISSING
    label_column: str = "label"
    label_columns: list[str] = field(default_factory=list)  # several labels: a 0/1 column for each
    # several labels: between the names in one text
    label_separator: str | None = ruled(None, Rule(bool, "a text that is not empty"))
    labels: list[str] | None = None  # names in the order of their ids; null: sorted names found in train
    problem_type: ProblemType = ProblemType.classification
    metric: str = MISSING  # a name in `finesweep.tasks.metrics`, or a function of yours: module:function
    direction: Direction | None = None  # null: the metric's own
    positive_label: str | None = None  # whose F1, precision, recall and curves, where there are two labels
    threshold: float = ruled(0.5, SHARE)  # several labels: the probability from which a label is predicted
    class_weights: Any = ruled(None, CLASS_WEIGHTS)  # of the loss; balanced: rare labels weigh more
    train_split: str = "train"
    eval_split: str | None = "validation"
    final_eval_split: str | None = None  # scored once, with the best checkpoint
    test_split: str | None = None  # unlabelled; predicted for the submission
    # share of train that selects; eval_split is then scored once
    holdout: float | None = ruled(None, SHARE)
    # training rows that data=demo makes
    demo_rows: int = ruled(4000, Rule(lambda value: value >= 100, "100 rows or more"))


@dataclass
class OptimizerConfig:
    name: OptimizerName = OptimizerName.adamw
    learning_rate: float = ruled(5e-5, POSITIVE)
    weight_decay: float = ruled(0.01, NOT_NEGATIVE)
    adam_beta1: float = ruled(0.9, BELOW_ONE)
    adam_beta2: float = ruled(0.999, BELOW_ONE)
    adam_epsilon: float = ruled(1e-8, POSITIVE)
    momentum: float = ruled(0.0, BELOW_ONE)  # sgd only
    warmup_steps: float = ruled(
        0.1, Rule(NOT_NEGATIVE.allows, "a number of steps, or below 1 a share of all steps")
    )
    lr_scheduler_type: str = ruled("linear", one_of(*SCHEDULES))
    max_grad_norm: float = ruled(1.0, Rule(NOT_NEGATIVE.allows, "0 (no clipping) or more"))


@dataclass
class TrainerConfig:
    num_train_epochs: float = ruled(3.0, POSITIVE)
    per_device_train_batch_size: int = ruled(16, COUNT)
    per_device_eval_batch_size: int = ruled(128, COUNT)
    gradient_accumulation_steps: int = ruled(1, COUNT)
    evals_per_epoch: int = ruled(1, COUNT)
    early_stopping_patience: int | None = ruled(None, COUNT)  # evaluations without a better one
    precision: Precision = Precision.auto  # bf16 or fp16 where the device is good at it, else fp32
    device: str = ruled("auto", matching(r"auto|cpu|cuda(:\d+)?", "auto, cpu, cuda, cuda:0, cuda:1, ..."))
    deterministic: bool = True  # on a GPU: the same run gives the same weights, at some cost in speed
    threads: int | None = ruled(None, COUNT)  # null: all cores, or one for each of a sweep's workers


@dataclass
class TrackingConfig:
    uri: str = "sqlite:///mlruns/mlflow.db"
    artifacts: str = ruled(
        "mlruns/artifacts", Rule(lambda value: "://" not in value, "a folder; a server keeps them itself")
    )
    system_metrics: bool = True

    @property
    def is_server(self) -> bool:
        """Whether an MLflow server keeps the runs; it has its own place for artifacts."""
        return self.uri.startswith("http")


@dataclass
class RunConfig:
    """The whole of one run. `sweep` names the file under `sweeps/`; its content lies in `hydra.sweeper`."""

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    seed: int = ruled(42, Rule(lambda value: 0 <= value < 2**32, "0 to 4294967295"))
    cache_dir: str = "mlruns/cache"  # encoded data and trained vocabularies, shared by all workers
    predict: bool = True  # predict data.test_split after training
