"""Targeted audits on the command line."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from command_line import Command, refused
from PIL import Image
from run_kit import CLASSES, INPUT, load, make_data, make_onnx, make_profile, predict
from table_files import RANGES, write_model, write_table

from robaudit.audit.config.resolve import resolve_settings
from robaudit.errors import UsageError

ONE = "\n  - {id: apgd-ce, steps: 8}\n"
NAMES = ["ant", "bee", "cow", "doe"]


@pytest.fixture
def place(tmp_path, monkeypatch, no_settings):
    """A working directory with the kit's model and data, and class names in robaudit.yaml."""
    monkeypatch.chdir(tmp_path)
    make_onnx(tmp_path / "m.onnx")
    make_data(tmp_path / "d.npz")
    make_profile(tmp_path / "p.yaml", ONE, eps=0.15)
    (tmp_path / "robaudit.yaml").write_text(f"profile: p.yaml\ndata: d.npz\nclasses: {NAMES}\n")
    return tmp_path


@pytest.fixture
def scan(place, monkeypatch, robaudit) -> Command:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("COLUMNS", "200")
    known = [text for name, value in INPUT.items() for text in (f"--{name}", value)]
    return lambda *arguments: robaudit("scan", *arguments, *known, "--no-progress")


def test_a_class_by_name_is_planned_audited_and_reported(place, scan):
    plan = scan("m.onnx", "--goal", "class:bee", "--dry-run")
    assert plan.code == 0, plan.err
    assert "eps 0.15, class:bee: to be answered with the class bee\n" in plan.out
    done = scan("m.onnx", "--goal", "class:bee", "--run-dir", "run", "-v")
    assert done.code == 0, done.err
    result = load(place / "run")
    assert result.threat_model.goal == "class:bee"
    assert result.profile.sources["goal"] == "flag --goal"
    assert {s.targets for s in result.samples} == {(), (1,)}
    assert any(s.broken_by for s in result.samples)
    assert "not made to answer the class bee" in " ".join(done.out.split())


def test_the_goal_of_a_profile_a_file_a_variable_and_a_flag(place):
    def resolved(flags=None, **environment):
        found = resolve_settings(flags or {}, environment, place / "m.onnx")
        assert found.settings.goal == found.profile.threat.goal
        return found.settings.goal, found.sources["goal"]

    assert resolved() == ("untargeted", "profile tiny")
    profile, settings = place / "p.yaml", place / "robaudit.yaml"
    profile.write_text(profile.read_text().replace("threat: {", "threat: {goal: 'every:2', "))
    assert resolved() == ("every:2", "profile tiny")
    settings.write_text(settings.read_text() + "goal: random\n")
    assert resolved() == ("random", str(settings))
    variable = {"ROBAUDIT_GOAL": "least-likely"}
    assert resolved(**variable) == ("least-likely", "environment ROBAUDIT_GOAL")
    assert resolved({"goal": "untargeted"}, **variable) == ("untargeted", "flag --goal")
    with pytest.raises(UsageError, match="environment: no goal is called 'x'"):
        resolved(ROBAUDIT_GOAL="x")


@pytest.mark.parametrize(
    ("goal", "words"),
    [
        ("targeted", "which class to reach: random, least-likely"),
        ("lest-likely", "did you mean 'least-likely'?"),
        ("every:-1", "a number of classes above 0"),
    ],
)
def test_a_bad_goal_is_one_sentence(place, robaudit, goal, words):
    for arguments in (["scan", "m.onnx", "--goal", goal], ["profile", "validate", "own.yaml"]):
        (place / "own.yaml").write_text(f"extends: p.yaml\nthreat: {{goal: '{goal}'}}\n")
        refused(robaudit(*arguments), words)


def test_a_class_that_the_model_lacks_is_refused_before_the_audit(place, scan):
    done = scan("m.onnx", "--goal", "class:be")
    assert (done.code, done.out) == (2, "")
    assert done.err == "robaudit: error: the goal: no class is called 'be'; did you mean 'bee'?\n"
    done = scan("m.onnx", "--goal", "given")
    assert done.code == 2
    assert "an array target in the .npz" in done.err


def test_explain_lists_the_goals(robaudit):
    code, out, _ = robaudit("explain", "goal")
    assert code == 0
    for word in ("untargeted", "random", "least-likely", "second-likely", "class:NAME", "given", "every:20"):
        assert word in out


def test_classes_given_in_a_folder_of_images(place, scan):
    x = (np.load(place / "d.npz")["x"][:, 0] * 255).astype(np.uint8)
    labels = predict(x[:, None] / 255)
    rows = [("file", "label", "target")]
    (place / "photos").mkdir()
    for i, (image, label) in enumerate(zip(x, labels.tolist(), strict=True)):
        Image.fromarray(image).save(place / "photos" / f"{i:02}.png")
        rows.append((f"{i:02}.png", NAMES[label], "" if i == 3 else NAMES[(label + 1) % CLASSES]))
    with (place / "photos" / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    done = scan("m.onnx", "--data", "photos", "--goal", "given", "--run-dir", "run")
    assert done.code == 0, done.err
    result = load(place / "run")
    assert [s.targets for s in result.samples] == [
        () if i == 3 else ((label + 1) % CLASSES,) for i, label in enumerate(labels.tolist())
    ]
    assert "1 of 16 samples is left out, as the goal does not apply: no class is given for it" in result.data.notes
    assert any(s.broken_by for s in result.samples)


def test_classes_given_in_a_column_of_a_table(place, robaudit):
    (place / "robaudit.yaml").unlink()
    write_table(place / "t.csv", write_model(place / "t.onnx"))
    with (place / "t.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    for number, row in enumerate(rows):
        row.insert(1, "wish" if not number else "abc"[("abc".index(row[-1]) + 1) % 3])
    with (place / "t.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    (place / "t.ranges.csv").write_text(RANGES)
    given = ("t.onnx", "--data", "t.csv", "--profile", "p.yaml", "--run-dir", "run")
    done = robaudit("scan", *given, "--target-column", "wish", "--goal", "given", "--no-progress")
    assert done.code == 0, done.err
    result = load(place / "run")
    assert all(s.targets == ((s.label + 1) % 3,) for s in result.samples)
    broken = [s for s in result.samples if s.broken_by]
    assert broken
    assert all((s.adversarial_prediction,) == s.targets for s in broken)
