"""Our training settings beside the library's defaults: the same rows, the same model, one after the other.

    make bench        or: python benchmarks/bench_training.py [--rows 2000] [--repeats 3]

Both train one epoch of a BERT-tiny-sized classifier, batch 16, on pairs whose lengths are spread like QNLI's
(mean 51 tokens), drawn from a fixed seed. Prints one JSON line: examples/s of both, every repeat, and the
ratio of medians.
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
from finesweep.training.trainer import training_arguments

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
    found: dict[str, list[float]] = {"defaults": [], "ours": []}
    for _ in range(arguments.repeats):  # in turn, so that a slow minute of the machine hits both
        found["defaults"].append(round(examples_per_second(data, tokenizer, defaults), 1))
        found["ours"].append(round(examples_per_second(data, tokenizer, ours), 1))
    ratio = statistics.median(found["ours"]) / statistics.median(found["defaults"])
    print(json.dumps({"threads": torch.get_num_threads(), **found, "ratio": round(ratio, 2)}))


if __name__ == "__main__":
    main()
