"""The clock of a study: seconds since 1970, on which all processes that work on the study agree.

In PostgreSQL it is the server's clock. A SQLite file belongs to one host: there it is the time since boot,
which nobody sets, added to the time of that boot, which the study keeps. Setting a host's clock, another
time zone or a host whose clock is wrong changes neither.
"""

import time

import sqlalchemy
from optuna.study import Study

from finesweep.machine.process import UNKNOWN, this_process
from finesweep.study.records import StudyRecord
from finesweep.study.storage import PatientStorage, backend_of


def now(study: Study) -> float:
    """Raises: StoreError if the database is away for longer than the storage's patience."""
    backend = backend_of(study)
    if not isinstance(backend, PatientStorage) or backend.engine.dialect.name != "postgresql":
        return _local(study)
    return backend.patience.call(_server_time, backend.engine)


def _server_time(engine: sqlalchemy.Engine) -> float:
    with engine.connect() as connection:
        return float(connection.scalar(sqlalchemy.text("SELECT extract(epoch FROM clock_timestamp())")))


def start(study: Study) -> None:
    """Keeps the time of this boot in the study, unless it is known. The caller holds the study's lock."""
    record, boot = StudyRecord(study), this_process().boot
    boots = record.boots or {}
    if boot != UNKNOWN and boot not in boots:
        record.boots = {**boots, boot: time.time() - _since_boot()}


def _local(study: Study) -> float:
    booted = (StudyRecord(study).boots or {}).get(this_process().boot)
    return time.time() if booted is None else booted + _since_boot()


def _since_boot() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)  # goes on while the machine sleeps
