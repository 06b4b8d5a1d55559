"""Where gates, attacks and checks were asked for."""

from __future__ import annotations

import os
import textwrap

import pytest

from robaudit.audit.config.places import (
    elsewhere,
    find_places,
    repository_path,
    shown_command,
    shown_path,
    without_machine,
)
from robaudit.audit.config.profile_files import load_profile
from robaudit.audit.result.sections.run import Place


@pytest.fixture
def repository(tmp_path, monkeypatch):
    (tmp_path / ".git").mkdir()
    (tmp_path / "models").mkdir()
    (tmp_path / "ci").mkdir()
    monkeypatch.chdir(tmp_path / "ci")
    return tmp_path


def write(path, text):
    path.write_text(textwrap.dedent(text).lstrip())
    return path


def test_lines_of_config_and_profiles_nearest_first(repository):
    config = write(
        repository / "robaudit.yaml",
        """
        profile: ci/strict.yaml
        gates:
          - metric: robust_accuracy
            min: 0.4
          - {min: 1, metric: coverage}
          - clean_accuracy >= 90%
        """,
    )
    base = write(
        repository / "ci" / "base.yaml",
        """
        extends: quick
        checks: [clean, parity]
        gates:
          - {metric: clean_accuracy, min: 0.9}
          - {metric: validity}
        """,
    )
    strict = write(
        repository / "ci" / "strict.yaml",
        """
        extends: base.yaml
        checks:
          parity: {}
        attacks:
          - fgsm
          - id: square
            queries: 100
        gates:
          - {metric: robust_accuracy, min: 0.1}
          - {metric: validity}
        """,
    )
    load_profile(str(strict))
    places = find_places(repository / "models" / "m.onnx", config, str(strict), {})
    assert base.exists()
    assert places == {
        "model": Place(file="models/m.onnx"),
        "gates.robust_accuracy": Place(file="robaudit.yaml", line=3),
        "gates.coverage": Place(file="robaudit.yaml", line=5),
        "gates.clean_accuracy": Place(file="robaudit.yaml", line=6),
        "checks.parity": Place(file="ci/strict.yaml", line=3),
        "attacks.fgsm": Place(file="ci/strict.yaml", line=5),
        "attacks.square": Place(file="ci/strict.yaml", line=6),
        "gates.validity": Place(file="ci/strict.yaml", line=10),
        "checks.clean": Place(file="ci/base.yaml", line=2),
    }


@pytest.mark.parametrize("origin", ["flag --min-robust", "environment ROBAUDIT_MIN_ROBUST", "robaudit.yaml"])
def test_a_bound_from_a_flag_has_no_line(repository, origin):
    config = write(repository / "robaudit.yaml", "seed: 1\nmin-robust: 0.4\n")
    places = find_places(repository / "m.onnx", config, None, {"min_robust": origin})
    asked = {"gates.robust_accuracy": Place(file="robaudit.yaml", line=2)} if origin == "robaudit.yaml" else {}
    assert places == {"model": Place(file="m.onnx")} | asked


def test_a_file_outside_of_the_repository_is_named_without_its_folders(repository, tmp_path_factory):
    other = write(tmp_path_factory.mktemp("private") / "p.yaml", "attacks: [fgsm]\n")
    assert find_places(other.with_name("m.onnx"), None, str(other), {}) == {
        "model": Place(file="m.onnx"),
        "attacks.fgsm": Place(file="p.yaml", line=1),
    }


def test_without_a_repository_paths_start_at_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    monkeypatch.chdir(tmp_path / "link")
    assert repository_path(tmp_path / "real" / "m.onnx", tmp_path / "link") == "m.onnx"
    assert find_places(tmp_path / "real" / "m.onnx", None, None, {})["model"].file == "m.onnx"


def test_what_is_recorded_holds_no_folder_of_the_machine(repository):
    value = {
        "profile": str(repository / "ci" / "ours.yaml"),
        "data": "/data/secret/x.npz",
        "output": [str(repository / "r.json"), "r.md"],
        "eps": "8/255",
        "seed": 3,
        "norm": None,
        "domain": f"default with {repository / 'robaudit.yaml'}",
        "scale": "default with /secret/robaudit.yaml",
    }
    assert without_machine(value, repository) == {
        "profile": "ci/ours.yaml",
        "data": "x.npz",
        "output": ["r.json", "r.md"],
        "eps": "8/255",
        "seed": 3,
        "norm": None,
        "domain": "default with robaudit.yaml",
        "scale": "default with robaudit.yaml",
    }


def test_results_tell_paths_from_the_working_directory_and_of_files_elsewhere_the_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    assert shown_path(tmp_path / "models" / "m.onnx") == "models/m.onnx"
    assert shown_path("./models/m.onnx") == shown_path("models/../models/m.onnx") == "models/m.onnx"
    assert shown_path("/elsewhere/m.onnx") == shown_path("../m.onnx") == "m.onnx"


def test_command_lines_tell_paths_likewise(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = f"robaudit scan {tmp_path}/a/m.onnx --data=/x/d.npz --profile ../p.yaml -o './r 1.json' --eps 8/255"
    assert shown_command(given) == "robaudit scan a/m.onnx --data=d.npz --profile p.yaml -o 'r 1.json' --eps 8/255"
    for kept in ("robaudit scan m.onnx --gate 'robust_accuracy>=0.3' --mean .5,.5", "scan 'unclosed"):
        assert shown_command(kept) == kept


def test_each_of_several_paths_in_a_variable_is_told_by_itself(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = os.pathsep.join(("/far/a.onnx", "near/b.onnx", "../c.onnx"))
    shown = os.pathsep.join(("a.onnx", "near/b.onnx", "c.onnx"))
    for name in ("ROBAUDIT_SURROGATES", "ROBAUDIT_OUTPUT"):
        assert shown_command(f"{name}={given} robaudit scan m.onnx") == f"{name}={shown} robaudit scan m.onnx"
        assert elsewhere(f"{name}={given} robaudit scan m.onnx") == ("a.onnx", "c.onnx")


def test_what_a_command_names_elsewhere_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = f"ROBAUDIT_DATA=/x/d.npz robaudit scan '{tmp_path}/a  b.onnx' --profile ../p.yaml -o ./r.json --eps 8/255"
    assert elsewhere(given) == ("d.npz", "p.yaml")
    assert elsewhere("robaudit scan m.onnx --data d.npz") == elsewhere("scan 'unclosed") == ()
    assert shown_command(given).startswith("ROBAUDIT_DATA=d.npz robaudit scan 'a  b.onnx'")
