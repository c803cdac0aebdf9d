"""A data set that a run reads, as MLflow lists it beside the run."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

DIGEST = 12  # characters of the SHA-256; MLflow takes 36, but its table shows them all


@dataclass(frozen=True)
class DataInput:
    name: str
    context: str  # what it is read for: train, eval, final_eval or test
    sha256: str  # of its rows
    source_type: str  # MLflow's name for it: local, hugging_face, code
    source: str  # JSON: the place, and the split in it
    rows: int
    columns: Mapping[str, str]  # their names and types

    def stored(self) -> dict[str, Any]:
        """Returns the entry that `writes` sends, ready for JSON."""
        columns = [{"name": name, "type": kind} for name, kind in self.columns.items()]
        dataset = {
            "name": self.name,
            "digest": self.sha256[:DIGEST],
            "source_type": self.source_type,
            "source": self.source,
            "schema": json.dumps({"mlflow_colspec": columns}),
            "profile": json.dumps({"num_rows": self.rows, "sha256": self.sha256}),
        }
        return {"context": self.context, "dataset": dataset}
