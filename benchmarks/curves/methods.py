"""The ways to search that are compared, by name."""

from replay import Method

from finesweep.config.study import Pruner, StopWhen

EARLIER = {"min_resource": 12.5}
METHODS = {
    "grid": Method(sampler="grid", is_grid=True),
    "random": Method(sampler="random"),
    "tpe": Method(spreads=False),
    "tpe, median": Method(spreads=False, pruner=Pruner.median),
    "tpe, successive halving": Method(spreads=False, pruner=Pruner.successive_halving),
    "tpe, hyperband": Method(spreads=False, pruner=Pruner.hyperband),
    "recipe": Method(begins_known=True),
    "recipe, stop_when": Method(begins_known=True, stop_when=StopWhen.noise),
    "recipe, pause": Method(begins_known=True, pruner=Pruner.pause),
    "recipe, pause from 12.5%": Method(begins_known=True, pruner=Pruner.pause, pruner_options=EARLIER),
}
