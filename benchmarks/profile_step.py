"""Profiles training steps of finesweep's trainer beside those of the library's defaults: where a step's time goes.

    python benchmarks/profile_step.py [--size tiny|small|base] [--steps 40] [--threads 1]

Prints a Markdown table: milliseconds a step, and their share. An operator's own time counts for the part of
the step that it ran within (optimizer, clipping, batches), else for its kind. `Python between operators` is
the rest of the wall time, measured without the profiler, which slows Python down: Trainer's own code, the
modules' code, the building of the graph.
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
from measure import seconds
from torch.profiler import ProfilerActivity, profile, record_function

# Part -> the spans that belong to it; a span is an event of the profiler that contains others.
SPANS = {
    "optimizer": r"Optimizer\.step|Optimizer\.zero_grad",
    "gradient norm and clipping": r"^bench: clip",
    "batches (sampler, collator)": r"_SingleProcessDataLoaderIter|^bench: batch",
    "callbacks": r"^bench: callback",
    "loss to Python": r"^bench: loss",
}
# Part -> its operators, where no span claims them. The first that matches counts.
OPERATORS = {
    "embedding gradient": r"embedding_dense_backward|aten::index_add|embedding_backward",
    "attention": r"scaled_dot_product|_flash_attention|softmax",
    "matrix products": r"aten::(mm|addmm|bmm|baddbmm|matmul|linear)$|mkldnn|AddmmBackward|MmBackward",
    "dropout": r"dropout|bernoulli|random_|aten::(native_dropout)",
    "normalisation": r"layer_norm|LayerNorm",
    "GELU": r"gelu|Gelu",
    "embedding look-up": r"aten::(embedding|index_select)$",
    "copies, additions, other operators": r"^aten::|Backward|autograd::",
}
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


def part_of(event: Any) -> str | None:
    """Returns the part that an event's own time belongs to; None: of Python."""
    ancestor = event
    while ancestor is not None:
        for part, names in SPANS.items():
            if re.search(names, ancestor.name):
                return part
        ancestor = ancestor.cpu_parent
    return next((part for part, names in OPERATORS.items() if re.search(names, event.name)), None)


def trained(build: Any, size: str, steps: int, profiled: bool) -> tuple[float, dict[str, float]]:
    """Trains some steps. Returns the seconds, and those of each part if it is profiled."""
    parts: dict[str, float] = defaultdict(float)
    with TemporaryDirectory() as folder:
        trainer = build(size, rows.encoded(steps * BATCH), Path(folder))
        if not profiled:
            return seconds(trainer.train).value, parts
        with marked(trainer), profile(activities=[ProfilerActivity.CPU]) as profiler:
            trainer.train()
    for event in profiler.events():
        if (part := part_of(event)) is not None:
            parts[part] += event.self_cpu_time_total / 1e6
    return 0.0, parts


def measured(build: Any, size: str, steps: int) -> dict[str, float]:
    """Returns the milliseconds of each part of a step; the rest is Python's."""
    trained(build, size, 4, False)  # warms up
    wall = min(trained(build, size, steps, False)[0] for _ in range(3))
    _, parts = trained(build, size, steps, True)
    per_step = {part: 1e3 * spent / steps for part, spent in parts.items()}
    return per_step | {REST: 1e3 * wall / steps - sum(per_step.values()), "a step": 1e3 * wall / steps}


def table(columns: dict[str, dict[str, float]]) -> str:
    named = [*OPERATORS, *SPANS, REST, "a step"]
    lines = ["| ms a step | " + " | ".join(columns) + " |", "| --- |" + " --- |" * len(columns)]
    for part in (part for part in named if any(part in column for column in columns.values())):
        cells = [
            f"{one.get(part, 0):.2f} ({one.get(part, 0) / one['a step']:.0%})" for one in columns.values()
        ]
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
