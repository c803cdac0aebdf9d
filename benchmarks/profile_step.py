"""Profiles training steps of finesweep's trainer and of the library's defaults: where a step's time goes.

    python benchmarks/profile_step.py [--size tiny|small|base] [--steps 40] [--threads 1]

Prints a Markdown table: milliseconds of a step, and their share. `Python between operators` is what is left
of the step's CPU time, which is measured without the profiler: Trainer's own code, the modules' code, the
building of the graph. The profiler slows small operators down, so a little of it is counted as theirs.
"""

import argparse
import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial, wraps
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import rows
import torch
from bench_training import BATCH, finesweep, library
from torch.profiler import ProfilerActivity, profile, record_function
from transformers import TrainerCallback

# Part -> names of spans (events of the profiler that contain others) to which everything in them belongs.
SPANS = {
    "embedding gradient, its zeroing": r"EmbeddingBackward|embedding_dense_backward",
    "optimizer": r"Optimizer\.step|Optimizer\.zero_grad",
    "gradient norm and clipping": r"^bench: clip",
    "batches (sampler, collator)": r"_SingleProcessDataLoaderIter|^bench: batch",
    "callbacks": r"^bench: callback",
}
# Part -> names of operators, where no span claims them; the innermost that has a part counts.
OPERATORS = {
    "matrix products": r"^aten::(mm|addmm|bmm|baddbmm|mkldnn_\w+)$",
    "dropout, its random numbers": r"dropout|Dropout|_Drop|bernoulli|random_",
    "attention, but for its products": r"scaled_dot|ScaledDot|[sS]oftmax|masked_fill|MaskedFill",
    "normalisation": r"layer_norm|LayerNorm",
    "GELU": r"gelu|Gelu",
    "embedding look-up": r"^aten::embedding$",
}
OTHER = "copies, additions, other operators"
REST = "Python between operators"


@contextmanager
def marked(trainer: Any) -> Iterator[None]:
    """Makes spans of the parts of a step that the profiler does not mark by itself."""
    from transformers.trainer_callback import CallbackHandler

    owners = [
        (trainer.accelerator, "clip_grad_norm_", "bench: clip"),
        (CallbackHandler, "call_event", "bench: callback"),
        (trainer, "get_batch_samples", "bench: batch"),
    ]
    before = [(owner, name, owner.__dict__.get(name), getattr(owner, name)) for owner, name, _ in owners]
    for owner, name, span in owners:
        setattr(owner, name, spanned(getattr(owner, name), span))
    yield
    for owner, name, own, _ in before:
        if own is None:
            delattr(owner, name)
        else:
            setattr(owner, name, own)


def spanned(function: Callable[..., Any], span: str) -> Callable[..., Any]:
    @wraps(function)
    def within(*args: Any, **kwargs: Any) -> Any:
        with record_function(span):
            return function(*args, **kwargs)

    return within


def part_of(event: Any) -> str:
    """Returns the part that an event's own time belongs to."""
    within = [event]  # from the inside out
    while (parent := within[-1].cpu_parent) is not None:
        within.append(parent)
    for parts in (SPANS, OPERATORS):
        for one in within:
            for part, names in parts.items():
                if re.search(names, one.name):
                    return part
    return OTHER


class StepClock(TrainerCallback):
    """Measures the CPU seconds of this thread from the first step's beginning to the last one's end."""

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self.begin = time.thread_time()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.spent = time.thread_time() - self.begin


def trained(build: Any, size: str, steps: int) -> float:
    """Trains some steps. Returns the CPU milliseconds of a step."""
    with TemporaryDirectory() as folder:
        trainer = build(size, rows.encoded(steps * BATCH), Path(folder))
        trainer.add_callback(clock := StepClock())
        trainer.train()
        return 1e3 * clock.spent / steps


def profiled(build: Any, size: str, steps: int) -> dict[str, float]:
    """Trains some steps under the profiler. Returns the milliseconds of each part of a step."""
    parts: dict[str, float] = defaultdict(float)
    with TemporaryDirectory() as folder:
        trainer = build(size, rows.encoded(steps * BATCH), Path(folder))
        with marked(trainer), profile(activities=[ProfilerActivity.CPU]) as profiler:
            cpu, wall = time.thread_time(), time.perf_counter()
            trainer.train()
            share = (time.thread_time() - cpu) / (time.perf_counter() - wall)
    for event in profiler.events():  # whose times are by the clock, also while another program had the core
        parts[part_of(event)] += share * event.self_cpu_time_total / 1e3 / steps
    return parts


def measured(build: Any, size: str, steps: int) -> dict[str, float]:
    trained(build, size, 4)  # warms up
    step = min(trained(build, size, steps) for _ in range(3))
    parts = profiled(build, size, steps)
    return parts | {REST: step - sum(parts.values()), "a step": step}


def table(columns: dict[str, dict[str, float]]) -> str:
    named = [*OPERATORS, OTHER, *SPANS, REST, "a step"]
    lines = ["| ms a step | " + " | ".join(columns) + " |", "| --- |" + " --- |" * len(columns)]
    for part in (part for part in named if any(part in column for column in columns.values())):
        shares = [(one.get(part, 0.0), one["a step"]) for one in columns.values()]
        cells = [f"{spent:.2f} ({spent / step:.0%})" for spent, step in shares]
        lines.append(f"| {part} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--size", choices=rows.SIZES, default="tiny")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    builds = {
        "library's defaults": library,
        "finesweep": partial(finesweep, None),
        "finesweep, no shortcuts": partial(finesweep, []),
    }
    begin = time.perf_counter()
    print(table({name: measured(build, given.size, given.steps) for name, build in builds.items()}))
    print(f"\nBERT {given.size}, {given.threads} threads, {given.steps} steps of {BATCH} rows, "
          f"{time.perf_counter() - begin:.0f} s")  # fmt: skip


if __name__ == "__main__":
    main()
