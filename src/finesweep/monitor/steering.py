"""Says to a person who does what was asked of a study."""

from optuna.study import Study

from finesweep.io.terminal import argument
from finesweep.monitor import hosts
from finesweep.monitor.stores import storage_of
from finesweep.monitor.wording import store_options
from finesweep.study import clock


def at_work(study: Study) -> str:
    """Writes how many workers run a trial, on which hosts; an empty text for none."""
    return hosts.at_work(hosts.workers(study.get_trials(deepcopy=False), clock.now(study)))


def who_goes_on(study: Study) -> str:
    """Names the workers that are there, or else the command that starts one."""
    if working := at_work(study):
        return f"workers: {working}"
    return f"no worker is at work; one begins with: {worker_command(study)}"


def worker_command(study: Study) -> str:
    return f"finesweep worker {argument(study.study_name)}{store_options(storage=storage_of(study))}"
