"""Compares training and evaluation with Trainer's defaults, and with the matrix products alone.

    python benchmarks/bench_training.py [SECTION ...] [--quick]

All train one epoch of the same BERT with random weights, batch 16, on the same pairs, whose lengths are
distributed like QNLI's (mean 51 tokens). Of larger models, only every 5th or 20th batch of the epoch is
trained. Figures are examples/s of all processes together. `products` does the products of forward and
backward pass of the same batches, and nothing else. Evaluations have as many rows.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import rows
from measure import Sample, Section, Work, rate, together

BATCH, ROWS, QUICK_ROWS = 16, 1600, 640
EVERY = {"tiny": 1, "small": 5, "base": 20}  # of an epoch's batches, one in so many is trained


class Thinned:
    """A sampler that leaves out all but every n-th batch of another one."""

    def __init__(self, sampler: Any, every: int) -> None:
        self.sampler, self.every = sampler, every

    def __iter__(self) -> Iterator[int]:
        order = list(self.sampler)
        for start in range(0, len(order), BATCH * self.every):
            yield from order[start : start + BATCH]

    def __len__(self) -> int:
        return len(self.sampler) // self.every


def library(size: str, data: Any, folder: Path) -> Any:
    """Returns a Trainer with the library's defaults."""
    from transformers import PrinterCallback, Trainer, TrainingArguments

    arguments = TrainingArguments(
        str(folder), num_train_epochs=1, per_device_train_batch_size=BATCH, save_strategy="no", report_to=[],
        disable_tqdm=True, use_cpu=True,
    )  # fmt: skip
    columns = data.remove_columns("length")
    trainer = Trainer(rows.make_model(size), arguments, train_dataset=columns, eval_dataset=columns,
                      processing_class=rows.make_tokenizer())  # fmt: skip
    trainer.remove_callback(PrinterCallback)
    return trainer


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
    inputs = Inputs(splits, task, rows.make_tokenizer(), data, data)
    callback = Quiet(config, Scorer(task, inputs.names, ()), len(data) // BATCH, None, None)  # type: ignore[arg-type]
    return build_trainer(config, rows.make_model(size), inputs, folder, callback)


def trained(build: Any, size: str, count: int) -> Sample:
    """Measures a training in this process. The length-grouped samplers draw in whole epochs."""
    with TemporaryDirectory() as folder:
        trainer = build(size, rows.encoded(count), Path(folder))
        if (every := EVERY[size]) > 1:
            sampler = trainer._get_train_sampler
            trainer._get_train_sampler = lambda *args: Thinned(sampler(*args), every)
        return rate(count // EVERY[size], trainer.train)


def evaluated(build: Any, count: int) -> Sample:
    with TemporaryDirectory() as folder:
        trainer = build("tiny", rows.encoded(count), Path(folder))
        return rate(count, trainer.evaluate)


def products(size: str, count: int) -> Sample:
    """Measures the products of the same batches: each weight's forward product, and two backward."""
    import torch

    wide, inner = rows.SIZES[size]["hidden_size"], rows.SIZES[size]["intermediate_size"]
    shapes = ([(wide, wide)] * 4 + [(wide, inner), (inner, wide)]) * rows.SIZES[size]["num_hidden_layers"]
    weights = {shape: torch.randn(shape) for shape in shapes}
    lengths = sorted(rows.encoded(count)["length"])
    longest = [lengths[min(start + BATCH, count) - 1] for start in range(0, count, BATCH * EVERY[size])]
    inputs = {size: torch.randn(BATCH * max(longest), size) for size in (wide, inner)}

    def multiply() -> None:
        for number in (BATCH * length for length in longest):
            for one, other in shapes:
                values, gradients = inputs[one][:number], inputs[other][:number]
                _ = values @ weights[one, other], gradients @ weights[one, other].T, values.T @ gradients

    return rate(BATCH * len(longest), multiply)


def cores() -> int:
    from joblib import cpu_count

    return int(cpu_count())


def compared(measured: Any, **options: Any) -> dict[str, Work]:
    """Returns the library's defaults, one worker, and a worker on each core."""

    def work(build: Any, processes: int) -> Work:
        return partial(together, [partial(measured, build, **options)] * processes)

    return {
        "defaults": work(library, 1),
        "one worker": work(partial(finesweep, None), 1),
        f"{cores()} workers": work(partial(finesweep, None), cores()),
        f"{cores()} workers, no shortcuts": work(partial(finesweep, []), cores()),
    }


def training(size: str, folder: Path, quick: bool) -> dict[str, Work]:
    count = QUICK_ROWS if quick else ROWS
    limit = partial(together, [partial(products, size, count)] * cores())
    return compared(trained, size=size, count=count) | {"products": limit}


def evaluation(folder: Path, quick: bool) -> dict[str, Work]:
    return compared(evaluated, count=QUICK_ROWS if quick else ROWS)


SECTIONS = [
    Section("training", "examples/s, BERT-tiny, QNLI's lengths", partial(training, "tiny"), "defaults"),
    Section("training-small", "examples/s, 6 layers of 384", partial(training, "small"), "defaults", False),
    Section("training-base", "examples/s, BERT-base", partial(training, "base"), "defaults", False),
    Section("evaluation", "examples/s, BERT-tiny, QNLI's lengths", evaluation, "defaults"),
]

if __name__ == "__main__":
    import bench_training  # by its name, under which other processes find it, too
    import runner

    runner.main(bench_training.SECTIONS)
