"""Runs the library's own search, to be compared with: `Trainer.hyperparameter_search` over fixed points.

    python benchmarks/library_search.py FOLDER POINTS      FOLDER/RTE/*.tsv, FOLDER/model; POINTS is JSON

All is as the library has it, but for an evaluation and a checkpoint each epoch. It tracks and predicts
nothing. Prints JSON: the time of the first training step (seconds since 1970), and this process's highest
resident memory in MB.
"""

import csv
import json
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import optuna
from commands import resident_peak
from datasets import Dataset
from rows import LABELS
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)


class FirstStep(TrainerCallback):
    time = 0.0

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self.time = self.time or time.time()


def encode(file: Path, tokenizer: Any) -> Dataset:
    with file.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
    columns: dict[str, Any] = {key: [row[key] for row in rows] for key in ("sentence1", "sentence2")}
    columns["label"] = [LABELS.index(row["label"]) for row in rows]
    pair = "sentence1", "sentence2"
    return Dataset.from_dict(columns).map(
        lambda batch: tokenizer(*(batch[key] for key in pair), truncation=True, max_length=512), batched=True
    )


def search(folder: Path, points: list[dict[str, Any]], scratch: str) -> float:
    """Returns the time of the first step."""
    set_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    config = AutoConfig.from_pretrained(folder / "model")
    first = FirstStep()
    trainer = Trainer(
        model=None,
        model_init=lambda _: AutoModelForSequenceClassification.from_config(config),
        args=TrainingArguments(scratch, eval_strategy="epoch", save_strategy="epoch", report_to=[],
                               disable_tqdm=True, use_cpu=True),
        train_dataset=encode(folder / "RTE/train.tsv", tokenizer),
        eval_dataset=encode(folder / "RTE/dev.tsv", tokenizer),
        processing_class=tokenizer,
        callbacks=[first],
        compute_metrics=lambda output: {"accuracy": float((output[0].argmax(1) == output[1]).mean())},
    )  # fmt: skip
    trainer.remove_callback(PrinterCallback)
    trainer.hyperparameter_search(
        direction="maximize", hp_space=lambda trial: points[trial.number], n_trials=len(points),
        backend="optuna", compute_objective=lambda metrics: metrics["eval_accuracy"],
        pruner=optuna.pruners.NopPruner(),
    )  # fmt: skip
    return first.time


if __name__ == "__main__":
    with TemporaryDirectory() as scratch:
        first_step = search(Path(sys.argv[1]), json.loads(sys.argv[2]), scratch)
    print(json.dumps({"first_step": first_step, "resident_mb": resident_peak("self")}))
