"""The ways to search that are compared, by name."""

from replay import Method

from finesweep.config.study import Pruner

METHODS = {
    "grid": Method(sampler="grid", is_grid=True),
    "random": Method(sampler="random"),
    "tpe": Method(spreads=False),
    "median": Method(spreads=False, pruner=Pruner.median),
    "successive halving": Method(spreads=False, pruner=Pruner.successive_halving),
    "hyperband": Method(spreads=False, pruner=Pruner.hyperband),
    "start": Method(begins_known=True),
}
