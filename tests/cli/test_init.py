"""robaudit init: the file that it writes is valid, says what was found, states nothing that was assumed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from command_line import Command
from hypothesis import given
from hypothesis import strategies as st
from model_files import FLOAT, linear_onnx, write_onnx
from onnx import helper
from table_files import RANGES, write_model, write_table

from robaudit.audit.config.keys import FileKeys
from robaudit.audit.config.resolve import resolve_settings
from robaudit.audit.config.settings import SETTINGS, Settings
from robaudit.audit.inspection.document import (
    BatchFacts,
    FileFacts,
    GradientFacts,
    HeadFacts,
    InputFacts,
    Inspection,
    MeaningFacts,
    OutputFacts,
    SafetyFacts,
)
from robaudit.report.starter import starter


@pytest.fixture
def robaudit(tmp_path, monkeypatch, no_settings, no_child, robaudit) -> Command:
    """The command line, in this process and an empty folder."""
    monkeypatch.chdir(tmp_path)
    return robaudit


def settings(model: str) -> Settings:
    return resolve_settings({}, {}, model).settings


def test_what_was_assumed_is_left_to_be_confirmed(robaudit, tmp_path) -> None:
    linear_onnx(tmp_path / "m.onnx")
    code, out, err = robaudit("init", "m.onnx")
    assert (code, out) == (0, "")
    assert err.splitlines()[0] == "wrote robaudit.yaml"
    assert "assumed" in err.splitlines()[1]
    text = (tmp_path / "robaudit.yaml").read_text()
    assert "  # mean: [0.0]  # assumed" in text
    assert "# data: path/to/data" in text
    assert all(vars(settings("m.onnx"))[each.name] is None for each in SETTINGS.values() if each.inside)
    # what is commented out is valid too, once the comment signs are gone
    lines = text.splitlines()
    full = "\n".join(line.replace("# ", "", 1) if "# assumed" in line or "away too" in line else line for line in lines)
    given = FileKeys.model_validate(yaml.safe_load(full)).input
    assert (given.layout, given.mean, given.std, given.domain) == ("nchw", (0.0,), (1.0,), (0.0, 1.0))
    assert robaudit("scan", "m.onnx", "--dry-run")[0] == 0


def test_data_and_inputs_that_are_named_are_written_relative_to_the_file(robaudit, tmp_path) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    nodes = [
        helper.make_node("Flatten", ["x"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["m"]),
        helper.make_node("Mul", ["m", "t"], ["y"]),
    ]
    weight = np.random.default_rng(0).normal(size=(48, 3)).astype(np.float32)
    write_onnx(folder / "m.onnx", nodes, ("N", 3, 4, 4), {"w": weight}, extra_inputs={"t": ((1,), FLOAT)})
    np.savez(tmp_path / "d.npz", x=np.random.default_rng(1).random((4, 3, 4, 4), np.float32), y=np.zeros(4, np.int64))
    (tmp_path / "own.yaml").write_text("name: own\nattacks: [{id: fgsm}]\n")
    code, _, err = robaudit("init", "models/m.onnx", "--data", "d.npz", "--input", "t=0.5", "--profile", "own.yaml")
    assert code == 0, err
    found = yaml.safe_load((folder / "robaudit.yaml").read_text())
    assert found["data"] == "../d.npz"
    assert found["profile"] == "../own.yaml"
    assert found["input"]["fixed"] == {"t": "0.5"}
    assert found["input-name"] == "x"
    code, out, err = robaudit("scan", "models/m.onnx", "--dry-run")
    assert code == 0, err
    assert "4 of 4 samples" in out
    assert "own" in out


def test_what_the_file_leaves_open_is_said_by_the_flags_that_the_refusal_names(robaudit, tmp_path) -> None:
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["y"]),
    ]
    write_onnx(tmp_path / "m.onnx", nodes, ("N", 3, "H", "W"), {"w": np.eye(3, 2, dtype=np.float32)})
    code, _, err = robaudit("init", "m.onnx")
    assert (code, len(err.splitlines())) == (2, 1)
    assert "--resize" in err
    code, _, err = robaudit("init", "m.onnx", "--resize", "24", "--channels", "bgr", "--std", "0.5")
    assert code == 0, err
    found = yaml.safe_load((tmp_path / "robaudit.yaml").read_text())["input"]
    assert found | {"resize": "24", "channels": "bgr", "std": [0.5]} == found
    code, out, err = robaudit("scan", "m.onnx", "--dry-run")
    assert code == 0, err
    assert "15 of 15 samples" in out


def test_a_table(robaudit, tmp_path) -> None:
    write_table(tmp_path / "m.data.csv", write_model(tmp_path / "m.onnx"))
    (tmp_path / "m.ranges.csv").write_text(RANGES)
    assert robaudit("init", "m.onnx")[0] == 0
    found = yaml.safe_load((tmp_path / "robaudit.yaml").read_text())
    assert (found["data"], found["feature-ranges"]) == ("m.data.csv", "m.ranges.csv")
    assert "domain" not in found.get("input", {})
    assert robaudit("scan", "m.onnx", "--dry-run")[0] == 0


def test_nothing_is_overwritten_unless_forced(robaudit, tmp_path) -> None:
    linear_onnx(tmp_path / "m.onnx")
    (tmp_path / "robaudit.yaml").write_text("seed: 7\n")
    code, out, err = robaudit("init", "m.onnx")
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert "--force" in err
    assert (tmp_path / "robaudit.yaml").read_text() == "seed: 7\n"
    assert robaudit("init", "m.onnx", "--force")[0] == 0
    assert "written by robaudit init" in (tmp_path / "robaudit.yaml").read_text()


def test_bad_places_are_refused_in_one_sentence(robaudit, tmp_path) -> None:
    linear_onnx(tmp_path / "m.onnx")
    assert robaudit("init", "none.onnx")[0] == 2
    (tmp_path / "robaudit.yaml").mkdir()
    code, out, err = robaudit("init", "m.onnx", "--force")
    assert (code, out, len(err.splitlines())) == (2, "", 1)


NAMES = st.text(min_size=1, max_size=20)


@given(NAMES, NAMES, NAMES, NAMES)
def test_names_from_the_file_inject_nothing(model, value, origin, name) -> None:
    """Whatever a file calls its inputs and outputs, the text holds the same keys."""
    found = Inspection(
        file=FileFacts(path="m", sha256="", bytes=1, format="onnx", judge="", parameters=1, parameter_bytes=1),
        safety=SafetyFacts(code=""),
        inputs=(
            InputFacts(name="x", shape=None, dtype="float32", role="attacked"),
            InputFacts(name=name, shape=None, dtype="float32", role="fixed", value=value),
        ),
        meaning=MeaningFacts(
            kind="vector",
            shape=(3,),
            layout=None,
            channels=None,
            domain=(0, 1),
            scale=1,
            mean=(),
            std=(),
            provenance={"domain": origin},
            assumed=(),
        ),
        outputs=(
            OutputFacts(name=name, shape=None, dtype="float32", chosen=True, reason=origin),
            OutputFacts(name="other", shape=None, dtype="float32", chosen=False),
        ),
        head=HeadFacts(kind="logits", classes=2, class_names=None, peeled=False, before=()),
        operators=(),
        gradient=GradientFacts(available=True, method="exact", reason=None, cuts=()),
        samples="",
        batch=BatchFacts(declared=None, invariant=None, deviation=None, repeats=None, twin=None, best=1),
        parity=None,
        gradient_check=None,
        speed=None,
        costs=None,
        notes=(),
        unmeasured={},
    )
    text = starter(found, {"data": value}, model)
    content = yaml.safe_load(text)
    assert content["data"] == value
    assert content["input"]["fixed"] == {name: value}
    assert content["output-name"] == name
    assert set(content) == {"data", "input", "input-name", "output-name", "profile"}


def test_the_folder_of_a_bare_name_is_the_working_directory(robaudit, tmp_path) -> None:
    linear_onnx(Path("m.onnx"))
    assert robaudit("init", "m.onnx")[0] == 0
    assert (tmp_path / "robaudit.yaml").is_file()
