"""Compares training and evaluation with Trainer's defaults, and with the matrix products alone.

    python benchmarks/bench_training.py [--size tiny|small|base] [--rows 1600] [--rounds 5] [--json FILE]

All train one epoch of the same BERT with random weights, batch 16, on the same pairs, whose lengths are
distributed like QNLI's (mean 51 tokens), and evaluate as many rows. Figures are examples/s of all processes
together. `products` does the products of forward and backward pass of the same batches, and nothing else.
"""

import argparse
import multiprocessing
import os
import random
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

SIZES = {
    "tiny": dict(hidden_size=128, num_hidden_layers=2, num_attention_heads=2, intermediate_size=512),
    "small": dict(hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536),
    "base": dict(hidden_size=768, num_hidden_layers=12, num_attention_heads=12, intermediate_size=3072),
}
VOCABULARY, BATCH = 30522, 16


def rows(count: int) -> Any:
    from datasets import Dataset

    rng = random.Random(0)
    lengths = [min(128, max(16, round(rng.lognormvariate(3.85, 0.42)))) for _ in range(count)]
    # Words follow Zipf's law, so that as in a text most of the vocabulary does not occur.
    words = [min(VOCABULARY - 1, 1000 + int(rng.paretovariate(0.7))) for _ in range(sum(lengths))]
    ids = iter(words)
    return Dataset.from_dict(
        {
            "input_ids": [[next(ids) for _ in range(length)] for length in lengths],
            "token_type_ids": [[0] * length for length in lengths],
            "attention_mask": [[1] * length for length in lengths],
            "length": lengths,
            "labels": [rng.randrange(2) for _ in lengths],
        }
    )


def make_model(size: str) -> Any:
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(0)
    return BertForSequenceClassification(BertConfig(vocab_size=VOCABULARY, **SIZES[size]))


def make_tokenizer() -> Any:
    from transformers import BertTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{index}" for index in range(VOCABULARY - 5))]
    return BertTokenizerFast(vocab={word: index for index, word in enumerate(words)})


def library(size: str, data: Any, folder: Path) -> Any:
    """Returns a Trainer with the library's defaults."""
    from transformers import Trainer, TrainingArguments

    arguments = TrainingArguments(
        str(folder), num_train_epochs=1, per_device_train_batch_size=BATCH, save_strategy="no", report_to=[],
        disable_tqdm=True, use_cpu=True,
    )  # fmt: skip
    columns = data.remove_columns("length")
    return Trainer(make_model(size), arguments, train_dataset=columns, eval_dataset=columns,
                   processing_class=make_tokenizer())  # fmt: skip


def finesweep(shortcuts: list[str] | None, size: str, data: Any, folder: Path) -> Any:
    """Returns finesweep's trainer, without its checkpoints. shortcuts: None for the default."""
    from finesweep.config.run import DataConfig, DataSource, RunConfig
    from finesweep.data import Splits
    from finesweep.tasks import Scorer, task_of
    from finesweep.training.callback import TrainingCallback
    from finesweep.training.inputs import Inputs
    from finesweep.training.trainer import build_trainer

    class Quiet(TrainingCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None: ...

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None: ...

    config = RunConfig(
        data=DataConfig(name="bench", source=DataSource.demo, text_columns=["a"], metric="accuracy")
    )
    config.trainer.num_train_epochs, config.trainer.per_device_train_batch_size = 1, BATCH
    config.trainer.device = "cpu"
    if shortcuts is not None:
        config.trainer.shortcuts = shortcuts
    task = task_of(config.data)
    splits = Splits(data.rename_column("labels", "label"), data, None, {}, ["no", "yes"])
    inputs = Inputs(splits, task, make_tokenizer(), data, data)
    callback = Quiet(config, Scorer(task, inputs.names, ()), len(data) // BATCH, None, None)  # type: ignore[arg-type]
    return build_trainer(config, make_model(size), inputs, folder, callback)


def run(build: Any, size: str, count: int, evaluates: bool, barrier: Any, results: Any) -> None:
    """One process: builds a trainer, waits for the others, and reports its examples/s."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    with tempfile.TemporaryDirectory() as folder:
        trainer = build(size, rows(count), Path(folder))
        barrier.wait(300)
        begin = time.perf_counter()
        trainer.evaluate() if evaluates else trainer.train()
        results.put(count / (time.perf_counter() - begin))


def products(size: str, count: int, barrier: Any, results: Any) -> None:
    """One process: the products of the same batches; each weight's forward product, and two backward."""
    import torch

    wide, inner = SIZES[size]["hidden_size"], SIZES[size]["intermediate_size"]
    shapes = ([(wide, wide)] * 4 + [(wide, inner), (inner, wide)]) * SIZES[size]["num_hidden_layers"]
    weights = {shape: torch.randn(shape) for shape in shapes}
    lengths = sorted(rows(count)["length"])
    tokens = [BATCH * lengths[min(start + BATCH, count) - 1] for start in range(0, count, BATCH)]
    inputs = {size: torch.randn(max(tokens), size) for size in (wide, inner)}
    barrier.wait(300)
    begin = time.perf_counter()
    for number in tokens:
        for one, other in shapes:
            values, gradients = inputs[one][:number], inputs[other][:number]
            _ = values @ weights[one, other], gradients @ weights[one, other].T, values.T @ gradients
    results.put(count / (time.perf_counter() - begin))


def in_processes(target: Any, processes: int, threads: int) -> float:
    """Runs `target` in some processes at once. Returns the sum of what they report."""
    os.environ.update({name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")})
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(processes), context.Queue()
    started = [context.Process(target=target, args=(barrier, results)) for _ in range(processes)]
    for process in started:
        process.start()
    for process in started:
        process.join()
    if any(process.exitcode for process in started):
        raise SystemExit("a process that was measured has failed")
    return float(sum(results.get() for _ in started))


def main() -> None:
    from measure import in_turn, report

    parser = argparse.ArgumentParser()
    parser.add_argument("--size", choices=SIZES, default="tiny")
    parser.add_argument("--rows", type=int, default=1600)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

    def measured(build: Any, evaluates: bool, processes: int) -> Any:
        target = partial(run, build, given.size, given.rows, evaluates)
        return partial(in_processes, target, processes, cores // processes)

    for evaluates, title in ((False, "training"), (True, "evaluation")):
        variants = {
            "defaults": measured(library, evaluates, 1),
            "one worker": measured(partial(finesweep, None), evaluates, 1),
            f"{cores} workers": measured(partial(finesweep, None), evaluates, cores),
            f"{cores} workers, no shortcuts": measured(partial(finesweep, []), evaluates, cores),
        }
        if not evaluates:
            variants |= {
                "products": partial(in_processes, partial(products, given.size, given.rows), cores, 1)
            }
        file = given.json and given.json.with_stem(f"{given.json.stem}-{title}")
        report(f"{title}, examples/s, BERT {given.size}, {cores} cores", in_turn(variants, given.rounds),
               "defaults", file)  # fmt: skip


if __name__ == "__main__":
    main()
