"""GLUE from the Hugging Face hub, or from the local cache if the hub cannot be reached."""

import datasets
from datasets import Dataset, DatasetInfo, Features, Value

from finesweep.data.glue import DIAGNOSTIC, Task, has_labels
from finesweep.data.source import LABEL, Source
from finesweep.errors import DataError
from finesweep.io.hub import ensure_reachable_or_offline

REPOSITORY = "nyu-mll/glue"


class GlueHub(Source):
    """Reads `datasets.load_dataset("nyu-mll/glue", task)`, one split at a time."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self.names = task.splits
        self.label_names = task.names

    def where(self, split: str) -> str:
        return f"{REPOSITORY} {self._hub_split(split)[0]}, split {split}"

    def read(self, split: str, *, labelled: bool) -> Dataset:
        task = self._task
        if labelled and not has_labels(split):
            raise DataError(f"{self.where(split)}: has no labels")
        text = {name: Value("string") for name in task.text}
        label = {LABEL: Value("float32" if task.names is None else "int64")} if labelled else {}
        features = Features({**text, **label})
        rows = self._load(split).select_columns(list(features))
        # The cast turns the hub's ClassLabel into plain numbers.
        return Dataset(rows.data.table.cast(features.arrow_schema), info=DatasetInfo(features=features))

    def _hub_split(self, split: str) -> tuple[str, str]:
        return (DIAGNOSTIC, "test") if split == DIAGNOSTIC else (self._task.hub_name, split)

    def _load(self, split: str) -> Dataset:
        reachable = ensure_reachable_or_offline()
        name, hub_split = self._hub_split(split)
        try:
            return datasets.load_dataset(REPOSITORY, name, split=hub_split)
        except (
            Exception
        ) as error:  # the hub's client, the download and the cache each raise types of their own
            reason = str(error) if reachable else "the hub cannot be reached, and there is no local copy"
            download = f"import datasets; datasets.load_dataset('{REPOSITORY}', '{name}')"
            raise DataError(
                f"{self.where(split)}: {reason}. Set data.path=DIR to a folder with the official download "
                f"(DIR/{self._task.folder}/train.tsv and so on), or run this once where there is network: "
                f'python -c "{download}"'
            ) from error
