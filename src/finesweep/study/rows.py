"""Reads and writes the rows of trials in few statements, where Optuna makes an object of each row.

That takes ten times as long, and all workers of a study read all of its trials. The tables are Optuna's, and
what is read is what Optuna would read.
"""

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import sqlalchemy
from optuna.distributions import BaseDistribution, distribution_to_json, json_to_distribution
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

SOME = 500  # ids in one statement
Values = dict[int, list[Sequence[Any]]]  # by the trial's id
_trials = models.TrialModel.__table__.c
_steps, _values = models.TrialIntermediateValueModel, models.TrialValueModel


def read_trials(
    session: Session,
    study_id: int,
    included: Collection[int],
    after: int,
    known: Mapping[int, TrialState] = {},
) -> list[FrozenTrial]:
    """Reads the trials whose id is above `after` or included, in the order of their ids.

    known: trials that are left out as long as they are in this state.
    """
    later = sqlalchemy.and_(_trials.study_id == study_id, _trials.trial_id > after)
    earlier = [trial_id for trial_id in included if trial_id <= after]
    rows = [
        row
        for some in _parts(earlier)
        for row in _read_states(session, _among(session, _trials.trial_id, some))
    ]
    rows += _read_states(session, later)
    return _complete(session, [row for row in sorted(rows, key=_first) if known.get(row[0]) is not row[2]])


def read_trial(session: Session, trial_id: int) -> FrozenTrial:
    """Raises: KeyError for an unknown id."""
    found = _complete(session, _read_states(session, _trials.trial_id == trial_id))
    if not found:
        raise KeyError(models.NOT_FOUND_MSG)
    return found[0]


def _read_states(session: Session, chosen: Any) -> list[Sequence[Any]]:
    columns = (
        _trials.trial_id,
        _trials.number,
        _trials.state,
        _trials.datetime_start,
        _trials.datetime_complete,
    )
    return [tuple(row) for row in session.execute(sqlalchemy.select(*columns).where(chosen))]


def _complete(session: Session, rows: Sequence[Sequence[Any]]) -> list[FrozenTrial]:
    """Adds what the other tables have of these trials. A finished trial is never changed again."""
    ids = [row[0] for row in rows]
    params = _read(session, models.TrialParamModel, ids, "param_name", "param_value", "distribution_json")
    values = _read(session, _values, ids, "objective", "value", "value_type")
    users = _read(session, models.TrialUserAttributeModel, ids, "key", "value_json")
    systems = _read(session, models.TrialSystemAttributeModel, ids, "key", "value_json")
    steps = _read(session, _steps, ids, "step", "intermediate_value", "intermediate_value_type")
    return [
        _frozen(row, *(table[row[0]] for table in (params, values, users, systems, steps))) for row in rows
    ]


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


def _read(session: Session, model: Any, ids: Sequence[int], *columns: str) -> Values:
    table = model.__table__
    found: Values = defaultdict(list)
    chosen = sqlalchemy.select(table.c.trial_id, *(table.c[name] for name in columns))
    for some in _parts(ids):
        rows = session.execute(
            chosen.where(_among(session, table.c.trial_id, some)).order_by(*table.primary_key.columns)
        )
        for trial_id, *values in rows:
            found[trial_id].append(values)
    return found


def _parts(ids: Sequence[int]) -> list[Sequence[int]]:
    return [ids[start : start + SOME] for start in range(0, len(ids), SOME)]


def _among(session: Session, column: Any, ids: Sequence[int]) -> Any:
    if session.get_bind().dialect.name != "postgresql":
        return column.in_(ids)
    array = sqlalchemy.literal(list(ids), postgresql.ARRAY(sqlalchemy.Integer))
    return column == sqlalchemy.any_(array)  # one parameter, and one plan for any number of ids


def read_attrs(session: Session, ids: Sequence[int], keys: Sequence[str]) -> dict[int, dict[str, Any]]:
    """Reads the attributes with these keys, by the trial's id."""
    table = models.TrialUserAttributeModel.__table__.c
    found: dict[int, dict[str, Any]] = defaultdict(dict)
    for some in _parts(ids):
        chosen = sqlalchemy.and_(_among(session, table.trial_id, some), table.key.in_(keys))
        rows = session.execute(sqlalchemy.select(table.trial_id, table.key, table.value_json).where(chosen))
        for trial_id, key, text in rows:
            found[trial_id][key] = json.loads(text)
    return found


def write(
    session: Session,
    trial_id: int,
    attrs: Mapping[str, Any],
    params: Mapping[str, tuple[float, BaseDistribution]] = {},
) -> TrialState:
    """Writes attributes and drawn parameters, unless the trial has ended. Returns its state.

    Raises: KeyError for an unknown id.
    """
    chosen = sqlalchemy.select(_trials.state).where(_trials.trial_id == trial_id)
    state: TrialState | None = session.scalar(chosen)
    if state is None:
        raise KeyError(models.NOT_FOUND_MSG)
    if not state.is_finished():
        if params:
            session.execute(sqlalchemy.insert(models.TrialParamModel).values(_param_rows(trial_id, params)))
        _upsert_attrs(session, trial_id, attrs)
    return state


def _param_rows(trial_id: int, params: Mapping[str, tuple[float, BaseDistribution]]) -> list[dict[str, Any]]:
    return [
        {
            "trial_id": trial_id,
            "param_name": name,
            "param_value": value,
            "distribution_json": distribution_to_json(distribution),
        }
        for name, (value, distribution) in params.items()
    ]


def _upsert_attrs(session: Session, trial_id: int, attrs: Mapping[str, Any]) -> None:
    table = models.TrialUserAttributeModel.__table__
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    insert = dialect.insert(table).values(
        [{"trial_id": trial_id, "key": key, "value_json": json.dumps(value)} for key, value in attrs.items()]
    )
    session.execute(
        insert.on_conflict_do_update(
            index_elements=[table.c.trial_id, table.c.key], set_={"value_json": insert.excluded.value_json}
        )
    )
