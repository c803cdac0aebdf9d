"""Writes a sweep as `-m --cfg job` shows it: the config that all trials share, then what is searched."""

from finesweep.config.parse import to_yaml
from finesweep.io.redaction import redact_urls
from finesweep.study.request import SweepRequest
from finesweep.study.space import range_of


def describe(sweep: SweepRequest) -> str:
    """Returns YAML, in which the search space is a comment."""
    study = sweep.config.study
    lines = [
        f"# study {sweep.name}: {study.n_trials} trials, sampler {study.sampler}",
        "# searched, in place of the values above:",
        *(f"#   {dimension.key}: {range_of(dimension)}" for dimension in sweep.space),
    ]
    return redact_urls(to_yaml(sweep.run)) + "\n".join(lines)
