"""`python train.py -m`: makes a study and its workers of Hydra's arguments; the work is done in finesweep."""

import copy
from functools import partial
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from hydra.utils import get_class, instantiate
from omegaconf import DictConfig, OmegaConf

from finesweep.config.folders import CONF
from finesweep.config.joining import joining
from finesweep.config.parse import parse_config
from finesweep.config.places import absolute_tracking, absolute_url
from finesweep.config.shown import only_show
from finesweep.config.study import SweepConfig, check_sweep
from finesweep.machine.imports import import_all
from hydra_plugins.finesweep._engine import EngineLauncher
from hydra_plugins.finesweep._schema import open_schema
from hydra_plugins.finesweep.launcher import FinesweepLauncher

OPEN = ("params", "study.objectives", "study.sampler_options", "study.pruner_options")  # any key is legal
SCHEMA = open_schema(SweepConfig, *OPEN)
ConfigStore.instance().store(group="hydra/sweeper", name="finesweep", node=SCHEMA, provider="finesweep")

NAMING = ("data", "model")  # config groups that, given on the command line, become part of the study's name
# Of a sweep's arguments, what another command that joins it says anew.
OWN = ("hydra.mode=", "hydra.sweeper.study.storage=", "hydra.sweeper.study.name=")


class FinesweepSweeper(Sweeper):
    """Hands the launcher a worker instead of the task function, as many times as there are workers."""

    def __init__(self, **sweep: Any) -> None:
        self.sweep_node = OmegaConf.merge(OmegaConf.structured(SweepConfig), sweep)

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.context, self.task_function, self.master = hydra_context, task_function, config
        self.loader: ConfigLoader = hydra_context.config_loader
        HydraConfig.instance().set_config(copy.deepcopy(config))  # so that `${hydra:...}` has a value here

    def sweep(self, arguments: list[str]) -> Any:
        """Checks the request, runs the workers, prints the summary, and returns the request (`SweepRequest`).

        Raises: FinesweepError.
        """
        if only_show.get():
            from finesweep.study.shown import describe

            print(describe(self._request(arguments)))
            return None
        launcher = FinesweepLauncher if joining.get() else get_class(self.master.hydra.launcher._target_)
        if launcher is FinesweepLauncher:
            from finesweep.machine.fork_server import start_server

            start_server()  # before anything else is imported here: its imports take the longest
        import_all("datasets", "finesweep.worker.launch")
        engine = instantiate(self.master.hydra.launcher) if issubclass(launcher, EngineLauncher) else None
        sweep = self._request(arguments, engine)
        if joining.get():
            self._join(sweep)
        else:
            self._start(sweep, engine)
        return sweep

    def _start(self, sweep: Any, engine: EngineLauncher | None) -> None:
        """Makes the study or goes on with it, and runs its workers."""
        from finesweep.machine.capacity import plan_elsewhere, plan_workers
        from finesweep.monitor.progress import watching
        from finesweep.worker.concluding import conclude, refuse_unconcluded
        from finesweep.worker.launch import prepare
        from hydra_plugins.finesweep._workers import Workers

        is_parallel = "basic_launcher" not in str(self.master.hydra.launcher._target_)
        plan = partial(plan_workers, sweep.run.trainer, sweep.config, is_parallel)
        if engine:
            plan = partial(plan_elsewhere, sweep.config)
            engine.check(sweep, plan()[0])
        prepared = prepare(sweep, plan)
        workers = Workers(self.context, self.task_function, self.master)
        with prepared.closing(), watching(sweep, prepared):
            if not prepared.nothing_to_do:
                workers.start(sweep, prepared, engine)
        conclude(sweep, prepared)
        if engine:  # the failure of a worker of this process has been raised
            refuse_unconcluded(sweep, prepared)

    def _join(self, sweep: Any) -> None:
        """Runs workers of a study that another command has made."""
        from finesweep.monitor.progress import watching
        from finesweep.worker.allotment import Allotment
        from finesweep.worker.joining import join, passing_stops_on, tell
        from finesweep.worker.requeue import starting_again
        from hydra_plugins.finesweep._workers import Workers

        request = joining.get()
        assert request is not None
        prepared, allotment = join(sweep, request), Allotment(request.ends_at)
        workers = Workers(self.context, self.task_function, self.master)
        shown = passing_stops_on(prepared) if request.command else watching(sweep, prepared)
        with starting_again(prepared.queue, allotment, request.command), prepared.closing(), shown:
            ended = 0 if prepared.nothing_to_do else workers.join(sweep, prepared, request.command, allotment)
        tell(prepared, ended, allotment)

    def _request(self, arguments: list[str], engine: EngineLauncher | None = None) -> Any:
        """Makes a `SweepRequest` of the arguments.

        Raises: ConfigError, also for places that the workers of `engine` cannot reach.
        """
        from finesweep.io.job_secrets import by_reference
        from finesweep.study.encode import encode
        from finesweep.study.request import SweepRequest
        from hydra_plugins.finesweep._arguments import processes, split, stand_ins
        from hydra_plugins.finesweep._dimensions import Dimensions
        from hydra_plugins.finesweep._known_points import fitted, gives_points
        from hydra_plugins.finesweep._models import model_configs

        here = Path.cwd()  # jobs may have another working folder
        sweep_config = self._sweep_config(here)
        parser = OverridesParser.create(config_loader=self.loader)
        given = parser.parse_overrides(arguments)
        fixed, searched = split(given, self.master.hydra.runtime.choices)
        fixed = [*fixed, *processes(sweep_config, fixed)]
        name = sweep_config.study.name = self._name_study(fixed)
        # One study, one folder; and what the trials share must be said to every job that Hydra composes anew.
        fixed = [*fixed, f"hydra.sweeper.study.name={encode(name)}"]
        base = self._compose([*stand_ins(parser, sweep_config.params, searched, self.master), *fixed])
        config = parse_config(base)
        if engine:
            by_reference(
                "hydra.sweeper.study.storage", sweep_config.study.storage
            )  # a cluster of this process
            engine.check_reach(config, sweep_config.study.storage, str(base.hydra.sweep.dir))
        config.tracking = absolute_tracking(config.tracking, here)
        named = {override.key_or_group for override in given}
        dimensions = Dimensions(self.loader, base, fixed, self._compose)
        space = dimensions.read(sweep_config, searched, named)
        if not joining.get() and not gives_points(self.master.hydra.overrides.hydra):
            sweep_config.enqueue = fitted(sweep_config, space, named, dimensions.shared)
        models = model_configs(space, fixed, self._compose)
        folder = str(here / str(base.hydra.sweep.dir))
        return SweepRequest(config, sweep_config, space, fixed, folder, models, self._origin())

    def _sweep_config(self, here: Path) -> SweepConfig:
        """Returns the sweep's own config, checked; its storage is made absolute from `here`."""
        sweep_config = OmegaConf.to_object(self.sweep_node)
        assert isinstance(sweep_config, SweepConfig)
        check_sweep(sweep_config)
        sweep_config.study.storage = absolute_url(sweep_config.study.storage, here)
        return sweep_config

    def _origin(self) -> Any:
        """Notes what Hydra composed this sweep of, but for the passwords, which are names of variables."""
        from finesweep.study.records import Request

        node = self.master.hydra
        overrides: Any = OmegaConf.to_container(node.overrides, resolve=False)  # or passwords were filled in
        given = [*overrides["hydra"], *overrides["task"]]
        places = {source.provider: source.path for source in node.runtime.config_sources}
        conf = None if Path(places["main"]).resolve() == CONF else places["main"]
        return Request(
            arguments=[text for text in given if not text.startswith(OWN)],
            config_name=str(node.job.config_name),
            conf=conf,
            config_dir=places.get("command-line"),
            project=str(node.runtime.cwd),
        )

    def _name_study(self, fixed: list[str]) -> str:
        """Gives `study.name`, or the sweep's name with the config groups that the command line chose."""
        if self.sweep_node.study.name:
            return str(self.sweep_node.study.name)
        choices = self.master.hydra.runtime.choices
        overridden = {text.partition("=")[0] for text in fixed}
        chosen = [str(choices[group]) for group in NAMING if group in overridden]
        return "-".join([str(choices.get("sweep", "sweep")), *chosen])

    def _compose(self, overrides: list[str]) -> DictConfig:
        config = self.loader.load_sweep_config(self.master, overrides)
        OmegaConf.resolve(config.hydra.sweep)
        return config
