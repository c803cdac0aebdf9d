"""The parts of a run's record, explained in docs/provenance.md.

A new field needs the default None, so that older records can still be read.
"""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Section:
    """A part of the record that keeps what a later finesweep has added, so that it is written again."""

    unknown: dict[str, Any] = field(default_factory=dict, kw_only=True)


@dataclass
class Onednn(Section):
    version: str | None
    isa: str | None  # a key of `environment.ONEDNN_ISAS`


@dataclass
class Gpu(Section):
    name: str
    compute_capability: str
    cuda: str | None
    cudnn: int | None


@dataclass
class Machine(Section):
    """The hardware, threads and precision that a run computed with."""

    python: str
    platform: str
    cpu: str
    threads: int
    device: str  # cpu or cuda
    precision: str  # fp32, bf16 or fp16
    cpu_capability: str  # of ATen's kernels
    onednn: Onednn
    gpu: Gpu | None
    variables: dict[str, str]  # environment variables that choose kernels


@dataclass
class Code(Section):
    """The code of a run: the git checkout, and the SHA-256 of each of finesweep's own files."""

    commit: str | None
    left_out: list[str]  # changed files that are not in the patch
    patch_sha256: str | None
    files: dict[str, str]
    installed: bool | None = None  # finesweep is an installed package: the checkout is that of a project


@dataclass
class Model(Section):
    """The base model: a hub's commit, or the SHA-256 of each file of a folder."""

    source: str  # built here, folder or hub
    files: dict[str, str] | None = None
    id: str | None = None
    commit: str | None = None


@dataclass
class Split(Section):
    """The hashes of one data split: all rows as read, each column as read, each column as encoded."""

    rows: int
    sha256: str
    columns: dict[str, str]
    encoded: dict[str, str] | None = None


@dataclass
class Results(Section):
    """What came out of a run. Every field is None until the training is over."""

    pruned: bool | None = None
    weights_sha256: str | None = None
    predictions: dict[str, str] | None = None  # SHA-256 of `eval` and of each submission file
    metrics_sha256: str | None = None
    metrics: list[str] | None = None  # names of the metrics that the hash covers


@dataclass(frozen=True)
class Change:
    """A difference between two runs."""

    section: str  # config, data, model, code, machine, packages or results
    what: str
    then: Any
    now: Any
    may_matter: bool = True  # whether it can change a result
