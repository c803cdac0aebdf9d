"""Compares the training speed of finesweep's settings with that of Trainer's defaults.

    make bench        or: python benchmarks/bench_training.py [--rows 2000] [--repeats 3]

Both train one epoch of the same BERT-tiny-sized classifier, batch 16, on the same pairs, whose lengths are
distributed like QNLI's (mean 51 tokens). Prints one JSON line: the examples/s of every repeat, and the ratio
of the medians.
"""

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from datasets import Dataset
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertTokenizerFast,
    Trainer,
    TrainingArguments,
    set_seed,
)
from transformers.trainer_callback import PrinterCallback
from transformers.utils import logging

from finesweep.config.run import RunConfig
from finesweep.training.arguments import training_arguments

VOCABULARY = 30522


def rows(count: int) -> Dataset:
    rng = random.Random(0)
    lengths = [min(128, max(16, round(rng.lognormvariate(3.85, 0.42)))) for _ in range(count)]
    return Dataset.from_dict(
        {
            "input_ids": [[rng.randrange(1000, VOCABULARY) for _ in range(length)] for length in lengths],
            "attention_mask": [[1] * length for length in lengths],
            "length": lengths,
            "labels": [rng.randrange(2) for _ in lengths],
        }
    )


def defaults(folder: Path) -> TrainingArguments:
    return TrainingArguments(
        str(folder),
        num_train_epochs=1,
        per_device_train_batch_size=16,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
    )


def ours(folder: Path) -> TrainingArguments:
    config = RunConfig()
    config.trainer.num_train_epochs, config.trainer.device = 1, "cpu"
    return training_arguments(config, folder)


def examples_per_second(
    data: Dataset, tokenizer: BertTokenizerFast, arguments: Callable[[Path], TrainingArguments]
) -> float:
    set_seed(0)
    sizes = {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 512}
    model = BertForSequenceClassification(BertConfig(vocab_size=VOCABULARY, **sizes))
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model=model, args=arguments(Path(folder)), train_dataset=data, processing_class=tokenizer
        )
        trainer.remove_callback(PrinterCallback)
        start = time.perf_counter()
        trainer.train()
        return len(data) / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    logging.set_verbosity_error()
    data = rows(arguments.rows)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{index}" for index in range(VOCABULARY - 5))]
    tokenizer = BertTokenizerFast(vocab={word: index for index, word in enumerate(words)})
    speeds: dict[str, list[float]] = {"defaults": [], "ours": []}
    for _ in range(arguments.repeats):  # alternating, so that a slow minute of the machine affects both
        speeds["defaults"].append(round(examples_per_second(data, tokenizer, defaults), 1))
        speeds["ours"].append(round(examples_per_second(data, tokenizer, ours), 1))
    ratio = statistics.median(speeds["ours"]) / statistics.median(speeds["defaults"])
    print(json.dumps({"threads": torch.get_num_threads(), **speeds, "ratio": round(ratio, 2)}))


if __name__ == "__main__":
    main()
