"""A start that spreads: TPE's first points, which Optuna draws at random, are those of a Sobol sequence.

Four random points can lie close together; four of a scrambled Sobol sequence lie in four different parts of
each dimension. Each point depends on the study's seed and on its place in the sequence alone: the first
suggestion behind those that are queued has place 0, for only aligned fours lie in four parts.
Source: A. Owen, Scrambling Sobol' and Niederreiter-Xing points, Journal of Complexity 14, 1998.
"""

from functools import cached_property
from typing import Any

import numpy as np
from optuna._transform import _SearchSpaceTransform
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from finesweep.study.space import Space


class SpreadTPE(TPESampler):
    """Optuna's TPE, with another start."""

    def __init__(self, space: Space, study_seed: int, index: int, **options: Any) -> None:
        super().__init__(**options)
        self._random_sampler = _Spread(space, study_seed, index)  # which TPE asks while it knows too little


class _Spread(RandomSampler):
    """Draws one point of the sequence. Each dimension, also a conditional one, has its own coordinate."""

    def __init__(self, space: Space, study_seed: int, index: int) -> None:
        super().__init__(study_seed)
        self._space, self._study_seed, self._index = space, study_seed, index

    @cached_property
    def _places(self) -> dict[str, float]:
        """Where the point lies in each dimension, from 0 to below 1, by Optuna's names."""
        from scipy.stats import qmc  # takes a second, and only the first points of a study need it

        generator = np.random.default_rng(self._study_seed)
        sequence = qmc.Sobol(len(self._space), scramble=True, rng=generator)
        if self._index:  # it cannot skip nothing
            sequence.fast_forward(self._index)
        return dict(zip([one.name for one in self._space], sequence.random()[0].tolist(), strict=True))

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return at(self._places[param_name], param_distribution)


def at(place: float, distribution: BaseDistribution) -> Any:
    """Returns the value at a place of a dimension, from 0 to below 1; equal shares have equal weight."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[int(place * len(distribution.choices))]
    transform = _SearchSpaceTransform({"x": distribution}, transform_0_1=True)
    return transform.untransform(np.array([place]))["x"]
