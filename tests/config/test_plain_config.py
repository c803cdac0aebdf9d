"""A config as plain values: what records, hashes and resumed trainings compare."""

from collections.abc import Callable

import pytest
from omegaconf import OmegaConf

from finesweep.config.parse import to_dict
from finesweep.config.run import RunConfig

GIVEN = {
    "defaults": (),
    "checkpoint": ("model=bert-tiny", "data=qnli", "trainer.precision=bf16", "trainer.num_train_epochs=1"),
    "lists and weights": (
        "data=table", "data.path=rows.csv", "data.text_columns=[text]", "data.labels=[no,yes]",
        "data.class_weights={no: 1, yes: 2.5}", "optimizer=sgd",
    ),
}  # fmt: skip


@pytest.mark.parametrize("overrides", GIVEN.values(), ids=GIVEN)
def test_plain_values_are_those_of_omegaconf(
    config: Callable[..., RunConfig], overrides: tuple[str, ...]
) -> None:
    given = config(*overrides)
    plain = to_dict(given)
    expected = OmegaConf.to_container(OmegaConf.structured(given), enum_to_str=True)
    assert isinstance(expected, dict) and expected.pop("peft") is None  # it is written as before adapters
    assert expected["trainer"].pop("num_processes") == 1  # and as before several processes
    assert plain == expected
    assert repr(plain) == repr(expected)  # the same order, and 1.0 is not 1
