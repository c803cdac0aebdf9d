"""The clock of a study: seconds since 1970, on which all processes that work on the study agree.

In PostgreSQL it is the server's clock. A SQLite file belongs to one host: there it is the time since boot,
which nobody sets and which stands still while the machine sleeps, added to the time of that boot, which the
study keeps. Setting a host's clock, another time zone or a host whose clock is wrong changes neither.
"""

import time
from weakref import WeakKeyDictionary

from optuna.study import Study

from finesweep.machine.process import UNKNOWN, machine_id, this_process
from finesweep.study.backend import backend_of
from finesweep.study.patient_storage import PatientStorage
from finesweep.study.records import StudyRecord

SERVERS = "extract(epoch FROM clock_timestamp())"  # PostgreSQL's time
_booted: WeakKeyDictionary[Study, float] = WeakKeyDictionary()  # when this boot was, once a study has kept it


def now(study: Study) -> float:
    """Raises: StoreError if the database is away for longer than the storage's patience."""
    backend = backend_of(study)
    if not isinstance(backend, PatientStorage) or not backend.is_server:
        return _local(study)
    return float(backend.execute(f"SELECT {SERVERS}")[0])


def start(study: Study) -> None:
    """Keeps time and machine of this boot in the study, unless known. The caller holds the study's lock."""
    record, boot = StudyRecord(study), this_process().boot
    boots, machines = record.boots or {}, record.machines or {}
    if boot == UNKNOWN:
        return
    if boot not in boots:
        record.boots = {**boots, boot: time.time() - _since_boot()}
    if machine_id() is not None and boot not in machines:
        record.machines = {**machines, boot: _this_machine()}


def earlier_boots(study: Study) -> set[str]:
    """Returns the boots of this machine before the present one: no process of theirs is alive."""
    machines = StudyRecord(study).machines or {}
    ours = {boot for boot, machine in machines.items() if machine == _this_machine()}
    return ours - {this_process().boot}


def _this_machine() -> str:
    return f"{this_process().host} {machine_id()}"  # cloned machines can share the id


def _local(study: Study) -> float:
    if study not in _booted:
        booted = (StudyRecord(study).boots or {}).get(this_process().boot)
        if booted is None:
            return time.time()
        _booted[study] = booted
    return _booted[study] + _since_boot()


def _since_boot() -> float:
    return time.clock_gettime(time.CLOCK_MONOTONIC)
