"""Places that a study records: relative to its database where both are in the project, which may move."""

import os
from pathlib import Path

from optuna.study import Study

from finesweep.config import places as config_places
from finesweep.study.backend import address_of
from finesweep.study.lock import SQLITE

LEAST = 2  # parts of a path, STUDY/trial-NNNN, by which a trial is found again


class Places:
    """Writes places into a study's records, and finds what was written there."""

    def __init__(self, storage: str, project: Path | None = None) -> None:
        """project: the folder that the command was started in."""
        self.project = project or config_places.project()
        is_file = storage.startswith(SQLITE)
        self.database = Path(storage.removeprefix(SQLITE)).resolve() if is_file else None

    def write(self, path: Path) -> str:
        """Returns the form in which a place is recorded."""
        if self.database and all(map(self._is_in_project, (path, self.database))):
            return os.path.relpath(path, self.database.parent)
        return str(path)

    def find(self, recorded: str) -> Path:
        """Returns the place; an absolute one is looked for in the project first, which may have moved."""
        path = Path(recorded)
        if self.database is None:
            return (
                config_places.relocated(path, [self.project], LEAST)
                if path.is_absolute()
                else self.project / path
            )
        if not path.is_absolute():
            return Path(os.path.normpath(self.database.parent / path))
        return config_places.relocated(path, [self.database.parent, self.database.parent.parent], LEAST)

    def is_foreign(self, path: Path) -> bool:
        """Tells whether a place is in the project that this one was copied from: nothing is changed there."""
        if self.database is None or path.is_relative_to(self.database.parent.parent):
            return False
        end = self.database.parts[-2:]
        return any(folder.joinpath(*end).is_file() for folder in path.parents)

    def _is_in_project(self, path: Path) -> bool:
        return path.is_relative_to(self.project)


def places_of(study: Study) -> Places:
    """Returns the places of a study that was loaded; for one in memory, they are in the working folder."""
    return Places(address_of(study))
