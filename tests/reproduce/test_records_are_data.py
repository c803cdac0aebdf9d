"""A record may be a stranger's: nothing in it is resolved, and nothing in it controls the terminal."""

import yaml
from omegaconf import OmegaConf
from pytest import MonkeyPatch, mark

from finesweep.config.parse import from_dict, literal, to_dict
from finesweep.config.run import RunConfig


@mark.parametrize(
    "text",
    ["${oc.env:SECRET}", "a${oc.env:SECRET}b", r"\${oc.env:SECRET}", r"\\${oc.env:SECRET}",
     "${oc.decode:${oc.env:SECRET}}", "$${oc.env:SECRET}", r"C:\dir", r"a\b${seed}", "${"],
)  # fmt: skip
def test_no_interpolation_of_a_record_is_resolved(text: str, monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "canary")
    recorded = to_dict(RunConfig())
    recorded["model"] |= {"name": "m"}
    recorded["data"] |= {
        "name": "d", "source": "table", "path": text, "text_columns": [text], "metric": "accuracy",
        "labels": [text, "b"],
    }  # fmt: skip
    config = from_dict(recorded)
    assert (config.data.path, config.data.text_columns, config.data.labels) == (text, [text], [text, "b"])
    read = OmegaConf.create(yaml.safe_load(yaml.safe_dump(literal(recorded))))
    assert OmegaConf.to_container(read.data.labels, resolve=True) == [text, "b"]
