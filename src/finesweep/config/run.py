"""The config of one run. These classes are the only source of defaults: YAML files say only what differs."""

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
    explained,
    filled_in,
    matching,
    one_of,
    ruled,
)

# The schedules of transformers' `SchedulerType` that need no arguments of their own.
SCHEDULES = ("linear", "cosine", "constant", "constant_with_warmup", "inverse_sqrt")
GLUE_TASKS = ("cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "ax", "qnli", "rte", "wnli")


TAB = "tab"  # the value of data.delimiter that means a tab
OWN_METRIC = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")  # module:function


def is_own_metric(metric: str) -> bool:
    """Tells whether `data.metric` names a user's own function, as `module:function`."""
    return OWN_METRIC.fullmatch(metric) is not None


def metric_key(metric: str) -> str:
    """Returns a metric's name in the logs: `my_module.my_function` for `my_module:my_function`."""
    return metric.replace(":", ".")


class Init(Enum):
    pretrained = "pretrained"
    random = "random"


class DataSource(Enum):
    """Where rows come from: GLUE (its files, or the hub), the user's own table, or the generated demo."""

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


class Empty(Enum):
    """What happens to a row of the user's own table if one of its cells is empty."""

    error = "error"  # the table is refused
    drop = "drop"  # the row is left out; rows to predict stay, with an empty text
    keep = "keep"  # an empty text is a text without words; a row without a label is left out


class Values(Enum):
    """What the columns of a submission hold."""

    labels = "labels"  # names or numbers; 0 or 1 if there is a column for each label
    probabilities = "probabilities"


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
    "null, embeddings, encoder, or how many of the lowest layers, 1 or more (and the embeddings with them)",
)
CLASS_WEIGHTS = Rule(
    lambda value: value == "balanced" or (isinstance(value, dict) and all(map(_is_weight, value.values()))),
    "null, balanced, or a weight above 0 for each label, such as '{fraud: 10, legit: 1}'",
)


DELIMITER = Rule(
    lambda value: value == TAB or (len(value) == 1 and value not in '"\r\n'), f"null, one character, or {TAB}"
)
ENCODING = Rule(lambda value: _is_encoding(value), "null, or a name that Python knows: utf-8, cp1252, utf-16")


def _is_encoding(name: str) -> bool:
    try:
        "a".encode(name)
    except LookupError:
        return False
    return True


# Explained in training/shortcuts.py. A record or study without the key is from before them, and used none.
SHORTCUTS = ("first_token", "dropout16", "occurring_tokens", "token_batches")
ALL_SHORTCUTS = Rule(lambda names: set(names) <= set(SHORTCUTS), f"a list of {', '.join(SHORTCUTS)}; or []")


def _is_weight(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and POSITIVE.allows(value) is True


@dataclass
class Architecture:
    """Sizes of a BERT that is built from the config, not from a checkpoint; named as in `BertConfig`."""

    vocab_size: int = ruled(MISSING, COUNT, "tokens of the vocabulary, which is trained on the data")
    hidden_size: int = ruled(MISSING, COUNT, "width of a layer; a multiple of num_attention_heads")
    num_hidden_layers: int = ruled(MISSING, COUNT, "number of layers")
    num_attention_heads: int = ruled(MISSING, COUNT, "attention heads of a layer")
    intermediate_size: int = ruled(MISSING, COUNT, "width of a layer's feed-forward part")


@dataclass
class ModelConfig:
    name: str = ruled(MISSING, NAME, "a name of your choice, for runs and tables")
    name_or_path: str | None = explained(
        None, "id on the Hugging Face hub, or a local folder; null: a model of `architecture`"
    )
    revision: str | None = explained(None, "branch, tag or commit on the hub; null: the default branch")
    init: Init = explained(Init.pretrained, "random: the same sizes and tokenizer, with random weights")
    max_length: int = ruled(
        128, Rule(lambda value: value >= 8, "8 tokens or more"),
        "in tokens, including special ones; longer inputs are cut off",
    )  # fmt: skip
    dropout: float | None = ruled(None, BELOW_ONE, "dropout rate; null: as in the checkpoint")
    freeze: Any = ruled(
        None, FREEZE, "what is not trained: the embeddings, the encoder, or the lowest layers"
    )
    gradient_checkpointing: bool = explained(
        False, "saves memory: recomputes activations, about a third slower"
    )
    architecture: Architecture | None = explained(None, "sizes; used only if name_or_path is null")


@dataclass
class SubmissionConfig:
    """How the predictions of `test_split` are written, if not one line for each row, in order."""

    template: str | None = ruled(
        None, Rule(str.strip, "null, or a file"),
        "a sample of the file to hand in (CSV or TSV), whose columns, ids and order are followed",
    )  # fmt: skip
    values: Values | None = explained(None, "what its columns hold; null: what the sample's own values show")


@dataclass
class DataConfig:
    name: str = ruled(MISSING, NAME, "a name of your choice; also the name of the MLflow experiment")
    source: DataSource = explained(
        MISSING, "where rows come from: GLUE (files or the hub), your own table, or the generated demo"
    )
    glue_task: str | None = ruled(None, one_of(*GLUE_TASKS), "for source=glue")
    path: str | None = ruled(
        None, Rule(str.strip, "null, a file or a folder"),
        "folder of the official GLUE download (null: the hub); table file, or folder of them",
    )  # fmt: skip
    empty: Empty = explained(
        Empty.error, "for source=table: rows with an empty text or label are refused, left out, or kept"
    )
    delimiter: str | None = ruled(None, DELIMITER, "of CSV files; null: the one that fits the header")
    encoding: str | None = ruled(None, ENCODING, "of text files; null: UTF-8, or as the byte order mark says")
    decimal: str | None = ruled(
        None, one_of(".", ","), "decimal separator in text files; null: a comma where that is plain"
    )
    text_columns: list[str] = explained(MISSING, "one column, or two that are encoded as a pair")
    label_column: str = explained("label", "the column of labels")
    label_columns: list[str] = explained([], "multi-label: one 0/1 column for each label")
    label_separator: str | None = ruled(
        None, Rule(bool, "a text that is not empty"), "multi-label: separates the names within one text"
    )
    labels: list[str] | None = explained(None, "label names, ordered by id; null: the sorted names in train")
    problem_type: ProblemType = explained(ProblemType.classification, "what a row's label is")
    metric: str = explained(
        MISSING, "selects the best evaluation: a metric of the problem type, or module:function for your own"
    )
    direction: Direction | None = explained(
        None, "null: the metric's usual direction; your own metric needs one"
    )
    positive_label: str | None = explained(
        None, "of two labels, the one that f1, precision and recall score; null: where the names tell it"
    )
    threshold: float = ruled(0.5, SHARE, "multi-label: the lowest probability at which a label is predicted")
    standardize: bool | None = explained(
        None,
        "regression: the model learns (number - mean) / standard deviation of the training rows; scores and "
        "predictions stay in the unit of the data; null: only if the numbers are far from the size of 1",
    )
    class_weights: Any = ruled(None, CLASS_WEIGHTS, "weights in the loss; balanced: rarer labels weigh more")
    train_split: str = explained("train", "the split that is trained on, perhaps sliced: train[:80%]")
    eval_split: str | None = explained("validation", "the split that selects the best checkpoint")
    final_eval_split: str | None = explained(None, "scored once, by the best checkpoint, after training")
    test_split: str | None = explained(None, "predicted by the best checkpoint; its labels are not read")
    submission: SubmissionConfig = field(default_factory=SubmissionConfig)
    holdout: float | None = ruled(
        None, SHARE,
        "share of train that selects the best checkpoint instead of eval_split, which is then scored once",
    )  # fmt: skip
    demo_rows: int = ruled(
        4000, Rule(lambda value: value >= 100, "100 rows or more"),
        "number of training rows that source=demo generates",
    )  # fmt: skip


@dataclass
class OptimizerConfig:
    name: OptimizerName = explained(OptimizerName.adamw, "the optimizer")
    learning_rate: float = ruled(5e-5, POSITIVE, "the highest learning rate of the schedule")
    weight_decay: float = ruled(0.01, NOT_NEGATIVE, "weight decay, of all weights but biases and norms")
    adam_beta1: float = ruled(0.9, BELOW_ONE, "for adamw: decay of the gradient's mean")
    adam_beta2: float = ruled(0.999, BELOW_ONE, "for adamw: decay of the squared gradient's mean")
    adam_epsilon: float = ruled(1e-8, POSITIVE, "for adamw: added to the denominator")
    momentum: float = ruled(0.0, BELOW_ONE, "for sgd")
    warmup_steps: float = ruled(
        0.1, Rule(NOT_NEGATIVE.allows, "a number of steps, or, below 1, a share of all steps"),
        "steps in which the learning rate rises from 0",
    )  # fmt: skip
    lr_scheduler_type: str = ruled(
        "linear", one_of(*SCHEDULES), "course of the learning rate after the warm-up"
    )
    max_grad_norm: float = ruled(
        1.0, Rule(NOT_NEGATIVE.allows, "0 (no clipping) or more"), "longer gradients are scaled down to it"
    )


@dataclass
class TrainerConfig:
    num_train_epochs: float = ruled(3.0, POSITIVE, "passes over the training rows; fractions are legal")
    per_device_train_batch_size: int = ruled(16, COUNT, "rows of a batch, in each process")
    per_device_eval_batch_size: int = ruled(128, COUNT, "rows of a batch in evaluations and predictions")
    gradient_accumulation_steps: int = ruled(1, COUNT, "batches of one optimizer step, in each process")
    evals_per_epoch: int = ruled(1, COUNT, "evaluations and checkpoints, evenly spaced")
    early_stopping_patience: int | None = ruled(
        None, COUNT, "a run stops after so many evaluations without a new best; null: it trains all epochs"
    )
    precision: Precision = explained(
        Precision.auto, "auto: bf16 or fp16 where the device computes it fast, else fp32"
    )
    device: str = ruled(
        "auto", matching(r"auto|cpu|cuda(:\d+)?", "auto, cpu, cuda, cuda:0, cuda:1, ..."),
        "auto: a GPU if there is one",
    )  # fmt: skip
    num_processes: int = ruled(
        1, COUNT,
        "processes that train together (data parallel): each on a GPU of its own, or on cores of its own",
    )  # fmt: skip
    deterministic: bool = explained(True, "on a GPU: equal runs give equal weights, at some cost in speed")
    threads: int | None = ruled(None, COUNT, "of each process; null: all cores; in a sweep, one")
    shortcuts: list[str] = ruled(
        list(SHORTCUTS), ALL_SHORTCUTS,
        "faster ways to the same mathematics, each where it fits the model; []: the library's own code",
    )  # fmt: skip


TARGETS = Rule(
    lambda value: value == "all-linear" or (value and isinstance(value, list) and all(map(_is_name, value))),
    "null, all-linear, or a list of names of the model's modules, such as [query,value]",
)


def _is_name(value: Any) -> bool:
    return isinstance(value, str)


@dataclass
class LoraConfig:
    """Adapters of low rank, which are trained in place of the model's own weights by the library peft."""

    r: int = ruled(8, COUNT, "rank of the adapters")
    alpha: int = ruled(16, COUNT, "what an adapter adds is multiplied by alpha / r")
    dropout: float = ruled(0.0, BELOW_ONE, "dropout of the adapters' inputs")
    targets: Any = ruled(
        None, TARGETS, "modules that get adapters; null: those that peft knows for the model"
    )


@dataclass
class TrackingConfig:
    uri: str = ruled(
        "sqlite:///mlruns/mlflow.db",
        filled_in("sqlite:///FILE, http://HOST:PORT of an MLflow server, or the address of its database"),
        "MLflow's store: a SQLite file, a database or a server",
    )
    artifacts: str = ruled(
        "mlruns/artifacts",
        Rule(lambda value: "://" not in value, "a folder; an MLflow server has its own store"),
        "checkpoints, predictions and records of runs",
    )
    patience_s: float = ruled(
        600.0, NOT_NEGATIVE,
        "seconds for which a run waits while the store is locked or away and nothing can go on without it",
    )  # fmt: skip
    spool: str = ruled(
        "mlruns/spool",
        Rule(lambda value: "://" not in value, "a folder"),
        "what cannot be written meanwhile; it is delivered later, at the latest by the next start",
    )
    system_metrics: bool = explained(True, "log CPU, memory and GPU use")

    @property
    def is_server(self) -> bool:
        """Whether runs go to an MLflow server, which stores artifacts in a place of its own."""
        return self.uri.startswith("http")


@dataclass
class RunConfig:
    """The complete config of one run. (A sweep's own settings are not in it: see `SweepConfig`.)"""

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    seed: int = ruled(
        42, Rule(lambda value: 0 <= value < 2**32, "0 to 4294967295"), "of weights, order of rows and dropout"
    )
    cache_dir: str = explained("mlruns/cache", "encoded data and trained vocabularies, shared by all workers")
    predict: bool = explained(True, "predict data.test_split after training")
    peft: LoraConfig | None = explained(
        None, "adapters that are trained in place of the model's weights: peft=lora, with finesweep[lora]"
    )
