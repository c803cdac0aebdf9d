"""Reads and writes the rows of trials in few statements, where Optuna makes an object of each row.

That takes ten times as long, and all workers of a study read all of its trials. The tables are Optuna's, and
what is read is what Optuna would read.
"""

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from itertools import chain
from typing import Any

import sqlalchemy
from optuna.distributions import BaseDistribution, distribution_to_json, json_to_distribution
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Connection
from sqlalchemy.dialects import postgresql

SOME = 500  # ids in one statement
Values = dict[int, list[Sequence[Any]]]  # by the trial's id
_params, _values, _steps = models.TrialParamModel, models.TrialValueModel, models.TrialIntermediateValueModel
_users, _systems = models.TrialUserAttributeModel, models.TrialSystemAttributeModel
# Of the tables that have rows for each trial: the column that tells these rows apart, and what is read.
COLUMNS: dict[Any, tuple[str, ...]] = {
    _params: ("param_name", "param_value", "distribution_json"),
    _values: ("objective", "value", "value_type"),
    _users: ("key", "value_json"),
    _systems: ("key", "value_json"),
    _steps: ("step", "intermediate_value", "intermediate_value_type"),
}
TRIAL = ("number", "state", "datetime_start", "datetime_complete")
_trials = models.TrialModel.__table__.c
_STUDY = sqlalchemy.text(
    "INSERT INTO study_user_attributes (study_id, key, value_json) VALUES (:study_id, :key, :value) "
    "ON CONFLICT (study_id, key) DO UPDATE SET value_json = excluded.value_json"
)
_STATE = sqlalchemy.select(_trials.state).where(_trials.trial_id == sqlalchemy.bindparam("trial_id"))


def read_trials(
    connection: Connection,
    study_id: int,
    included: Collection[int],
    after: int,
    known: Mapping[int, TrialState] = {},
) -> list[FrozenTrial]:
    """Reads the trials whose id is above `after` or included, in the order of their ids.

    known: trials that are left out as long as they are in this state.
    """
    chosen = {"study_id": study_id, "after": after, "ids": list(included)}
    rows = connection.execute(_later(_is_server(connection)), chosen).all()
    return _complete(connection, [row for row in rows if known.get(row[0]) is not row[2]])


@lru_cache
def _later(is_server: bool) -> Any:
    columns = [_trials[name] for name in ("trial_id", *TRIAL)]
    later = (_trials.trial_id > sqlalchemy.bindparam("after")) | _among(_trials.trial_id, is_server)
    chosen = sqlalchemy.select(*columns).where(_trials.study_id == sqlalchemy.bindparam("study_id"), later)
    return chosen.order_by(_trials.trial_id)


def read_trial(connection: Connection, trial_id: int, whole: bool = True) -> FrozenTrial:
    """Reads a trial; if not whole, only its state and attributes. Raises: KeyError for an unknown id."""
    rows = _read(connection, models.TrialModel, [trial_id])
    if not rows:
        raise KeyError(models.NOT_FOUND_MSG)
    if whole:
        return _complete(connection, rows)[0]
    users = [row[1:] for row in _read(connection, _users, [trial_id])]
    return _frozen(rows[0], params=(), values=(), users=users, systems=(), steps=())


def _complete(connection: Connection, rows: Sequence[Sequence[Any]]) -> list[FrozenTrial]:
    """Adds what the other tables have of these trials. A finished trial is never changed again."""
    ids = [row[0] for row in rows]
    tables = [_by_trial(_read(connection, model, ids)) for model in COLUMNS]
    return [_frozen(row, *(table[row[0]] for table in tables)) for row in rows]


def _frozen(
    row: Sequence[Any],
    params: Iterable[Sequence[Any]],
    values: Iterable[Sequence[Any]],
    users: Iterable[Sequence[Any]],
    systems: Iterable[Sequence[Any]],
    steps: Iterable[Sequence[Any]],
) -> FrozenTrial:
    trial_id, number, state, start, complete = row
    drawn = [(name, value, _distribution(text)) for name, value, text in params]
    measured = [_values.stored_repr_to_value(value, kind) for _, value, kind in sorted(values, key=_first)]
    return FrozenTrial(
        trial_id=trial_id,
        number=number,
        state=state,
        value=None,
        values=measured or None,
        datetime_start=_local(start),
        datetime_complete=_local(complete),
        params={name: distribution.to_external_repr(value) for name, value, distribution in drawn},
        distributions={name: distribution for name, _, distribution in drawn},
        user_attrs={key: json.loads(text) for key, text in users},
        system_attrs={key: json.loads(text) for key, text in systems},
        intermediate_values={
            step: _steps.stored_repr_to_intermediate_value(value, kind) for step, value, kind in steps
        },
    )


def _first(values: Sequence[Any]) -> Any:
    return values[0]


@lru_cache(maxsize=1024)
def _distribution(text: str) -> BaseDistribution:
    return json_to_distribution(text)


def _local(stored: datetime | None) -> datetime | None:
    """Optuna keeps UTC and shows the host's own time, both without a time zone."""
    return None if stored is None else stored.replace(tzinfo=UTC).astimezone().replace(tzinfo=None)


def _read(
    connection: Connection, model: Any, ids: Sequence[int], keys: tuple[str, ...] = ()
) -> list[Sequence[Any]]:
    """Reads the rows of these trials, in the order in which they were made; first of all, the trial's id.

    keys: those of the rows, if not all are wanted.
    """
    chosen = _chosen(model, _is_server(connection), keys)
    parts = [ids[start : start + SOME] for start in range(0, len(ids), SOME)]
    return [row for some in parts for row in connection.execute(chosen, {"ids": list(some)}).all()]


@lru_cache
def _chosen(model: Any, is_server: bool, keys: tuple[str, ...]) -> Any:
    table = model.__table__
    among = _among(table.c.trial_id, is_server)
    if keys:
        among &= table.c.key.in_(keys)
    columns = [table.c[name] for name in ("trial_id", *COLUMNS.get(model, TRIAL))]
    return sqlalchemy.select(*columns).where(among).order_by(*table.primary_key.columns)


def _among(column: Any, is_server: bool) -> Any:
    if not is_server:
        return column.in_(sqlalchemy.bindparam("ids", expanding=True))
    ids = sqlalchemy.bindparam("ids", type_=postgresql.ARRAY(sqlalchemy.Integer))
    return column == sqlalchemy.any_(ids)  # one parameter, and one plan for any number of them


def _is_server(connection: Connection) -> bool:
    return connection.dialect.name == "postgresql"


def _by_trial(rows: Iterable[Sequence[Any]]) -> Values:
    found: Values = defaultdict(list)
    for trial_id, *values in rows:
        found[trial_id].append(values)
    return found


def read_attrs(
    connection: Connection, ids: Sequence[int], keys: tuple[str, ...]
) -> dict[int, dict[str, Any]]:
    """Reads some attributes of these trials, by their ids."""
    found: dict[int, dict[str, Any]] = defaultdict(dict)
    for trial_id, key, text in _read(connection, _users, ids, keys):
        found[trial_id][key] = json.loads(text)
    return found


def write(
    connection: Connection,
    trial_id: int,
    attrs: Mapping[str, Any],
    params: Mapping[str, tuple[float, BaseDistribution]] = {},
    systems: Mapping[str, Any] = {},
    steps: Mapping[int, float] = {},
) -> TrialState:
    """Writes attributes, what a sampler drew, and intermediate values, unless the trial has ended.

    Written again, it is the same. Returns the trial's state. Raises: KeyError for an unknown id.
    """
    state: TrialState | None = connection.scalar(_STATE, {"trial_id": trial_id})
    if state is None:
        raise KeyError(models.NOT_FOUND_MSG)
    if not state.is_finished():
        _upsert(connection, trial_id, _users, [(key, json.dumps(value)) for key, value in attrs.items()])
        _upsert(connection, trial_id, _systems, [(key, json.dumps(value)) for key, value in systems.items()])
        drawn = [(name, value, distribution_to_json(one)) for name, (value, one) in params.items()]
        _upsert(connection, trial_id, _params, drawn)
        _upsert(connection, trial_id, _steps, [_measured(step, value) for step, value in steps.items()])
    return state


def write_study(connection: Connection, study_id: int, attrs: Mapping[str, Any]) -> None:
    """Writes attributes of a study. Written again, they are the same."""
    rows = [{"study_id": study_id, "key": key, "value": json.dumps(value)} for key, value in attrs.items()]
    if rows:
        connection.execute(_STUDY, rows)


def _measured(step: int, value: float) -> tuple[int, float | None, str]:
    stored, kind = _steps.intermediate_value_to_stored_repr(value)
    return step, stored, kind.name


def _upsert(connection: Connection, trial_id: int, model: Any, rows: Sequence[Sequence[Any]]) -> None:
    if rows:
        values = {f"v{place}": value for place, value in enumerate(chain.from_iterable(rows))}
        connection.execute(_upserting(model, len(rows)), {"trial_id": trial_id, **values})


@lru_cache
def _upserting(model: Any, count: int) -> sqlalchemy.TextClause:
    """Writes the statement for so many rows of a table that has one for each trial and key."""
    key, *others = names = COLUMNS[model]
    width = len(names)
    rows = (", ".join(f":v{row * width + column}" for column in range(width)) for row in range(count))
    return sqlalchemy.text(
        f"INSERT INTO {model.__tablename__} (trial_id, {', '.join(names)}) "
        f"VALUES {', '.join(f'(:trial_id, {row})' for row in rows)} "
        f"ON CONFLICT (trial_id, {key}) DO UPDATE "
        f"SET {', '.join(f'{name} = excluded.{name}' for name in others)}"
    )
