"""Writes a sweep as `-m --cfg job` shows it: the config that all trials share, then what is searched."""

from optuna.distributions import BaseDistribution, CategoricalDistribution

from finesweep.config.parse import to_yaml
from finesweep.io.redaction import redact_urls
from finesweep.study.request import SweepRequest
from finesweep.study.space import Dimension


def describe(sweep: SweepRequest) -> str:
    """Returns YAML, in which the search space is a comment."""
    study = sweep.config.study
    lines = [
        f"# study {sweep.name}: {study.n_trials} trials, sampler {study.sampler}",
        "# searched, in place of the values above:",
        *(f"#   {dimension.key}: {range_of(dimension)}" for dimension in sweep.space),
    ]
    return redact_urls(to_yaml(sweep.run)) + "\n".join(lines)


def range_of(dimension: Dimension) -> str:
    """Writes what is tried of a dimension for a person: `0.0001 to 0.01, on a log scale`."""
    conditions = ", ".join(f"{key}={value}" for key, value in dimension.when.items())
    return _values(dimension.distribution) + (f", where {conditions}" if conditions else "")


def _values(distribution: BaseDistribution) -> str:
    if isinstance(distribution, CategoricalDistribution):
        return ", ".join(map(str, distribution.choices))
    bounds = distribution._asdict()
    step = f", in steps of {bounds['step']}" if bounds["step"] not in (None, 1) else ""
    return f"{bounds['low']} to {bounds['high']}{', on a log scale' if bounds['log'] else ''}{step}"
