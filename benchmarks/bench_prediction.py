"""Compares predicting a test split with `transformers.pipeline`, row by row, and with Trainer's defaults.

    python benchmarks/bench_prediction.py [--quick]      about half a minute a round

The rows are pairs of text with QNLI's lengths, the model is a BERT-tiny. Each variant is a process that has
imported its libraries, and goes from text to labels. finesweep's also verifies the checkpoint, hashes what it
did, and writes the file of predictions: it is what a sweep does for its winner, in a worker with one thread.
"""

import csv
import random
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import rows
from measure import Sample, Section, Work, rate, together

ROWS, QUICK_ROWS = 4000, 1000
ONE_BY_ONE = 8  # the pipeline gets one in so many rows, because it takes as much longer
COLUMNS = ["question", "sentence"]


def write_inputs(folder: Path, count: int) -> None:
    """Writes a table with its three splits, and a checkpoint."""
    from finesweep.io import checkpoint

    rng = random.Random(0)
    words = rows.tokens(rng)
    for split in ("train", "validation", "test"):
        with (folder / f"{split}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow([*COLUMNS, "label"])
            for length in rows.qnli_lengths(rng, count if split == "test" else 100):
                first = max(2, length // 4)
                pair = [rows.text(rng, words, part) for part in (first, length - 3 - first)]
                writer.writerow([*pair, rng.choice(rows.LABELS)])
    rows.write_model(folder / "model")
    checkpoint.save(rows.write_model, folder, 1)


def texts(folder: Path, count: int) -> list[dict[str, Any]]:
    with (folder / "test.csv").open(newline="") as file:
        return list(csv.DictReader(file))[:count]


def pipeline(folder: Path, count: int) -> Sample:
    from transformers import pipeline

    classify = pipeline("text-classification", model=str(folder / "model"))
    pairs = [{"text": row["question"], "text_pair": row["sentence"]} for row in texts(folder, count)]
    return rate(count, lambda: [classify(pair) for pair in pairs])


def library(folder: Path, count: int) -> Sample:
    from datasets import Dataset
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        PrinterCallback,
        Trainer,
        TrainingArguments,
    )

    def predict() -> None:
        tokenizer = AutoTokenizer.from_pretrained(folder / "model")
        model = AutoModelForSequenceClassification.from_pretrained(folder / "model")
        table = Dataset.from_list([{name: row[name] for name in COLUMNS} for row in texts(folder, count)])
        table = table.map(lambda batch: tokenizer(*(batch[name] for name in COLUMNS)), batched=True)
        with TemporaryDirectory() as scratch:
            arguments = TrainingArguments(scratch, report_to=[], disable_tqdm=True, use_cpu=True)
            trainer = Trainer(model, arguments, processing_class=tokenizer)
            trainer.remove_callback(PrinterCallback)
            trainer.predict(table).predictions.argmax(1)

    return rate(count, predict)


def finesweep(threads: int, folder: Path, count: int) -> Sample:
    from finesweep.config.run import DataConfig, DataSource, RunConfig
    from finesweep.io import checkpoint
    from finesweep.machine import device
    from finesweep.training.inputs import load_inputs
    from finesweep.training.predict import score_and_predict

    class Untracked:
        run_id = "bench"

        def log_file(self, path: Path, folder: str) -> None: ...

    with TemporaryDirectory() as scratch:
        data = DataConfig(name="bench", source=DataSource.table, path=str(folder), text_columns=COLUMNS,
                          metric="accuracy", test_split="test")  # fmt: skip
        config = RunConfig(data=data, cache_dir=f"{scratch}/cache")
        config.model.name_or_path, config.model.max_length = str(folder / "model"), 512
        config.trainer.device, config.trainer.threads = "cpu", threads or None
        device.prepare(config.trainer)
        inputs = load_inputs(config)  # of training; the test split is encoded below
        best = checkpoint.publish(folder / "step-000001", Path(scratch) / "checkpoint")
        return rate(count, lambda: score_and_predict(config, inputs, best, Path(scratch), Untracked()))  # type: ignore[arg-type]


def variants(folder: Path, quick: bool) -> dict[str, Work]:
    count = QUICK_ROWS if quick else ROWS
    write_inputs(folder, count)

    def work(measured: Any, count: int) -> Work:
        return partial(together, [partial(measured, folder, count)])

    return {
        "pipeline, row by row": work(pipeline, count // ONE_BY_ONE),
        "Trainer.predict": work(library, count),
        "finesweep, one thread": work(partial(finesweep, 1), count),
        "finesweep": work(partial(finesweep, 0), count),
    }


SECTIONS = [Section("prediction", "rows/s, BERT-tiny, QNLI's lengths", variants, "pipeline, row by row")]

if __name__ == "__main__":
    import bench_prediction
    import runner

    runner.main(bench_prediction.SECTIONS)
