"""Bad input gets one clear error and exit code 2: no traceback, nothing half-written or left running."""

import logging
import runpy
import sys
from pathlib import Path

import pytest
from processes import ROOT

RTE = "index\tsentence1\tsentence2\tlabel\n"


@pytest.fixture
def glue(tmp_path: Path) -> Path:
    """The official layout, with one thing wrong in each task."""
    files = {
        "RTE/train.tsv": RTE + "0\ta\tb\tentailment\n1\ta\tb\n",
        "RTE/dev.tsv": RTE + "0\ta\tb\tentailment\n",
        "WNLI/train.tsv": RTE + "0\ta\tb\tmaybe\n",
        "WNLI/dev.tsv": RTE + "0\ta\tb\t1\n",
        "MRPC/train.tsv": "",
    }
    for name, text in files.items():
        path = tmp_path / "glue" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/config.json").write_text("{}")
    (tmp_path / "table.csv").write_text("text,mood\nhello,good\nbye,bad\n")
    (tmp_path / "moods").mkdir()
    (tmp_path / "moods/train.csv").write_text("text,mood\nhello,good\nbye,bad\n")
    (tmp_path / "moods/dev.csv").write_text("text,mood\nhello,good\n")  # the label bad is missing
    return tmp_path / "glue"


class Refused:
    """Runs a program in this process, and expects it to refuse."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
        self.monkeypatch, self.capfd = monkeypatch, capfd

    def __call__(self, program: str, arguments: list[str], words: list[str]) -> None:
        self.monkeypatch.setattr(sys, "argv", [program, *arguments])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(ROOT / program), run_name="__main__")
        logging.captureWarnings(False)
        stdout, stderr = self.capfd.readouterr()
        assert ended.value.code == 2, stderr
        assert "Traceback" not in stderr + stdout
        assert stderr.startswith("error: ")  # Hydra prints nothing before it
        assert stderr.count("error:") == 1
        for word in words:
            assert word in stderr


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Refused:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    return Refused(monkeypatch, capfd)


TABLE = [
    "data=table",
    "data.path=table.csv",
    "data.label_column=mood",
    "data.holdout=0.5",
    "data.eval_split=null",
]
MOODS = ["data=table", "data.path=moods", "data.label_column=mood", "data.text_columns=[text]"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["model=bert-tinny"],
            ["model: got 'bert-tinny'; did you mean bert-tiny? legal: bert-base, bert-medium"],
        ),
        (["data=qnlli"], ["data: got 'qnlli'; did you mean qnli? legal: ax, cola"]),
        (["sweep=nope"], ["sweep: got 'nope'; legal: bert-miniatures", "quickstart"]),
        (
            ["optimizer.learning_rat=1"],
            ["optimizer.learning_rat: no such key", "did you mean optimizer.learning_rate?"],
        ),
        (["pruner=pause"], ["pruner: no such key; did you mean hydra.sweeper.study.pruner? legal"]),
        (["keep_checkpoints=3"], ["did you mean hydra.sweeper.keep_checkpoints? legal"]),
        (["optimiser.learning_rate=1"], ["optimiser: no such key; did you mean optimizer? legal: model"]),
        (["+optimizer.learning_rat=1"], ["did you mean optimizer.learning_rate?"]),
        (["data.metric=acuracy"], ["data.metric: got 'acuracy'; did you mean accuracy? known for"]),
        (["optimizer.lr_scheduler_type=linar"], ["got 'linar'", "; did you mean linear?"]),
        (
            ["data.eval_split=validation[:80%]"],
            ["data.eval_split", """'data.eval_split="validation[:80%]"'"""],
        ),
        (["optimizer.learning_rate=fast"], ["optimizer.learning_rate", "fast", "Float"]),
        ([f"optimizer.learning_rate={10**400}"], ["optimizer.learning_rate: int too large"]),
        (["seed=" + "9" * 5000], ["more digits than Python converts"]),
        (["optimizer.learning_rate=-1"], ["optimizer.learning_rate: got -1.0; legal: a number above 0"]),
        (["trainer.per_device_train_batch_size=0"], ["per_device_train_batch_size: got 0", "1 or more"]),
        (["trainer.num_train_epochs=0"], ["trainer.num_train_epochs: got 0.0"]),
        (["trainer.device=tpu"], ["trainer.device: got 'tpu'; legal: auto, cpu, cuda"]),
        (["data.metric=f2"], ["data.metric: got 'f2'", "accuracy"]),
        (["data.metric=pearson"], ["data.metric: got 'pearson'", "regression"]),
        (["data=rte", "data.path=glue"], ["RTE/train.tsv", "line 3", "4"]),
        (["data=wnli", "data.path=glue"], ["WNLI/train.tsv", "line 2", "'maybe'"]),
        (["data=mrpc", "data.path=glue"], ["MRPC/train.tsv", "empty"]),
        (["data=qnli", "data.path=glue"], ["QNLI", "train.tsv"]),
        ([*TABLE, "data.text_columns=[txt]", "data.metric=accuracy"], ["'txt'", "text, mood"]),
        ([*MOODS, "data.metric=roc_auc"], ["data.metric: got 'roc_auc'", "none of the 1", "label 'bad'"]),
        (["data.threshold=0.4"], ["data.threshold: got 0.4; legal: 0.5"]),
        (["hydra.run.dir=table.csv/run"], ["table.csv/run: user", "cannot write here", "hydra.run.dir=DIR"]),
        (["tracking.uri=sqlite:///table.csv/x.db"], ["tracking.uri: cannot open"]),
        (["model.name_or_path=./nowhere"], ["model.name_or_path", "./nowhere"]),
        (["model.name_or_path=glue"], ["model.name_or_path: glue", "no config.json"]),
        (["model.name_or_path=empty", "model.init=pretrained"], ["model.name_or_path: empty", "safetensors"]),
    ],
    ids=lambda value: value[-1][:60] if isinstance(value, list) else "",
)
def test_one_run(
    glue: Path, tmp_path: Path, refused: Refused, arguments: list[str], words: list[str]
) -> None:
    refused("train.py", arguments, words)
    assert not (tmp_path / "mlruns/mlflow.db").exists()  # not even a failed run
    assert not (tmp_path / "outputs").exists()  # nor its folder with an empty log


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["optimizer.learning_rate=interval(1e-3,1e-5)"], ["got 'interval(0.001, 1e-05)'", "low < high"]),
        (["optimizer.learning_rate=choice()"], ["optimizer.learning_rate", "choice()"]),
        (["model.dropout=choice(null,0.1)"], ["takes no null", "model.dropout=null,0.1\n"]),
        (["model.dropout=shuffle(0.1,null)"], ["takes no null", "model.dropout=0.1,null\n"]),
        (["optimizer@foo=adamw,sgd"], ["optimizer@foo"]),
        (["+optimizer.learning_rate=1e-3,1e-4"], ["optimizer.learning_rate"]),
        (["model.name_or_path=null,./nowhere"], ["model.name_or_path: ./nowhere"]),
        (["model.architecture={hidden:1},{hidden:2}"], ["model.architecture.hidden", "no such key"]),
        (["sweep=null"], ["sweep: got null; legal: sweep=NAME", "~sweep to leave it out"]),
        (["peft.r=2,4"], ["peft.r: peft is null, so nothing has this key; add peft=lora"]),
        (["sweep=quickstrt"], ["sweep: got 'quickstrt'; did you mean quickstart?", "qnli"]),
        (["model=bert_tiny"], ["model: got 'bert_tiny'; did you mean bert-tiny?"]),
        (["--cfg", "hydra"], ["-m --cfg: got 'hydra'; legal: job"]),
        (["hydra.sweeper.study.sampler=no_such_module:Mine"], ["study.sampler", "cannot be imported"]),
        (["hydra.sweeper=null"], ["Hydra sweeper is not configured"]),
        (["optimizer.learning_rat=interval(1e-5,1e-3)"], ["optimizer.learning_rat", "learning_rate"]),
        (["trainer.per_device_train_batch_size=choice(0,8)"], ["per_device_train_batch_size: got 0"]),
        (["data=choice(rte,mrpc)"], ["data: cannot be swept", "one sweep for each"]),
        (["trainer.precision=fp16", "trainer.device=cpu"], ["trainer.precision: got 'fp16'", "bf16"]),
        (["hydra.sweeper.study.name=../x"], ["hydra.sweeper.study.name", "../x"]),
        (["+hydra.sweeper.study.sampler_options.nope=1"], ["sampler_options", "nope"]),
        (["+hydra.sweeper.study.sampler_options.seed=1"], ["sampler_options", "study.seed"]),
        (["hydra.sweeper.study.n_trials=0"], ["hydra.sweeper.study.n_trials: got 0"]),
        (["hydra.sweeper.study.n_trails=9"], ["n_trails", "n_trials"]),
        (
            ["hydra.sweeper.study.sampler=tpee"],
            ["sampler: got 'tpee'; legal: tpe, random", "; did you mean tpe?"],
        ),
        (["hydra.sweeper.study.sampler=bayes"], ["sampler", "bayes", "tpe"]),
        (
            ["hydra.sweeper.workers=2", "hydra/launcher=basic"],
            ["workers: got 2", "hydra/launcher=finesweep"],
        ),
        (["hydra.sweeper.enqueue=[{optimizer.learning_rate: 1.0}]"], ["enqueue", "learning_rate", "1.0"]),
        (
            [
                *MOODS,
                "data.metric=accuracy",
                "+hydra.sweeper.study.objectives={accuracy:maximize,roc_auc:maximize}",
            ],
            ["hydra.sweeper.study.objectives: got 'roc_auc'", "'bad'"],
        ),
        (["hydra.sweeper.study.storage=sqlite:///table.csv/x.db"], ["study.storage: cannot open"]),
        (["data=rte", "data.path=glue"], ["RTE/train.tsv", "line 3"]),
        (["model.name_or_path=./nowhere"], ["model.name_or_path", "./nowhere"]),
        (["model.name_or_path=glue"], ["model.name_or_path: glue", "no config.json"]),
        (["model.name_or_path=empty", "model.init=pretrained"], ["model.name_or_path: empty", "safetensors"]),
    ],
    ids=lambda value: value[-1][:60] if isinstance(value, list) else "",
)
def test_a_sweep(
    glue: Path, tmp_path: Path, refused: Refused, arguments: list[str], words: list[str]
) -> None:
    refused("train.py", ["-m", *arguments], words)
    assert not (tmp_path / "mlruns/mlflow.db").exists()
    assert not (tmp_path / "outputs/studies").exists()


@pytest.mark.parametrize(
    "verb", [["status", "s"], ["best", "s"], ["submit", "s", "--out", "out"]], ids=lambda v: v[0]
)
def test_an_unknown_study(tmp_path: Path, refused: Refused, verb: list[str]) -> None:
    refused("src/finesweep/cli/main.py", verb, ["study 's'", "finesweep train -m"])
    assert list(tmp_path.iterdir()) == []
