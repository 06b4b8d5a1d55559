import os
from pathlib import Path

import pytest

from robaudit.audit.config.discovery import find_config
from robaudit.audit.config.resolve import resolve_settings
from robaudit.errors import UsageError
from robaudit.files import MIB

needs_users = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="NOT TESTED: files have no owner here")


@pytest.fixture
def place(tmp_path):
    (tmp_path / "repo" / "models").mkdir(parents=True)
    (tmp_path / "robaudit.yaml").write_text("seed: 1\n")
    return tmp_path


def seed(model, environment=None):
    return resolve_settings({}, environment or {}, model).settings.seed


@pytest.mark.parametrize("git", ["folder", "file"])
def test_a_repository_ends_the_search(place, git):
    model = place / "repo" / "models" / "m.onnx"
    assert seed(model) == 1
    if git == "folder":
        (place / "repo" / ".git").mkdir()
    else:  # of a submodule or a worktree
        (place / "repo" / ".git").write_text("gitdir: elsewhere\n")
    assert seed(model) == 0
    (place / "repo" / "robaudit.yaml").write_text("seed: 2\n")
    assert seed(model) == 2


def test_the_home_folder_ends_the_search(place, monkeypatch):
    model = place / "repo" / "models" / "m.onnx"
    monkeypatch.setenv("HOME", str(place / "repo"))
    monkeypatch.setenv("USERPROFILE", str(place / "repo"))
    assert find_config(model) is None
    (place / "repo" / "robaudit.yaml").write_text("seed: 2\n")
    assert find_config(model) == place / "repo" / "robaudit.yaml"


def test_a_mounted_file_system_ends_the_search(place, monkeypatch):
    model = place / "repo" / "models" / "m.onnx"
    monkeypatch.setattr(os.path, "ismount", lambda path: str(path) == str(place / "repo"))
    assert find_config(model) is None


def test_the_folder_is_the_one_that_the_system_means(place, monkeypatch):
    (place / "work").mkdir()
    (place / "work" / "robaudit.yaml").write_text("seed: 3\n")
    (place / "repo" / ".git").mkdir()
    monkeypatch.chdir(place / "work")
    assert find_config(Path("../repo/models/m.onnx")) is None


@needs_users
def test_a_file_of_another_user_is_refused_and_the_environment_can_allow_it(place, monkeypatch):
    model, file = place / "repo" / "models" / "m.onnx", place / "robaudit.yaml"
    mine = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: mine + 4321)
    with pytest.raises(UsageError, match="belongs to another user") as caught:
        seed(model)
    assert str(file) in str(caught.value)
    assert f"ROBAUDIT_SAFE_DIRECTORY={place}" in str(caught.value)
    for allowed, known in {
        str(place): True, "*": True, f"{place}/*": True, f"{place.parent}/*": True, f"/no{os.pathsep}{place}": True,
        str(place.parent): False, str(place / "repo"): False, f"{place / 'repo'}/*": False, "": False,
    }.items():  # fmt: skip
        if known:
            assert seed(model, {"ROBAUDIT_SAFE_DIRECTORY": allowed}) == 1, allowed
        else:
            with pytest.raises(UsageError, match="belongs to another user"):
                seed(model, {"ROBAUDIT_SAFE_DIRECTORY": allowed})


@needs_users
def test_root_may_use_the_file_of_the_user_who_called_sudo(place, monkeypatch):
    mine = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(Path, "stat", _owned(Path.stat, mine + 4321))
    monkeypatch.setattr(Path, "lstat", _owned(Path.lstat, mine + 4321))
    file = place / "robaudit.yaml"
    assert find_config(place / "m.onnx", {"SUDO_UID": str(mine + 4321)}) == file
    for text in (str(mine + 4322), "9" * 5000, "-1", ""):
        with pytest.raises(UsageError, match="another user"):
            find_config(place / "m.onnx", {"SUDO_UID": text})


def _owned(call, user):
    def owned(path, **options):
        found = list(call(path, **options))
        found[4] = user
        return os.stat_result(found)

    return owned


@needs_users
def test_a_link_of_another_user_is_refused(place, monkeypatch):
    real = place / "robaudit.yaml"
    link = place / "repo" / "robaudit.yaml"
    link.symlink_to(real)
    assert find_config(place / "repo" / "m.onnx") == link
    monkeypatch.setattr(Path, "lstat", _owned(Path.lstat, os.geteuid() + 4321))
    with pytest.raises(UsageError, match="another user"):
        find_config(place / "repo" / "m.onnx")


def test_what_bears_the_name_and_is_no_file_is_refused_and_not_passed_over(place):
    path = place / "repo" / "robaudit.yaml"
    path.mkdir()
    with pytest.raises(UsageError, match="no ordinary file"):
        find_config(place / "repo" / "m.onnx")
    path.rmdir()
    for target in ("nowhere", "robaudit.yaml"):
        path.symlink_to(target)
        with pytest.raises(UsageError, match="cannot be read"):
            find_config(place / "repo" / "m.onnx")
        path.unlink()
    if hasattr(os, "mkfifo"):
        os.mkfifo(path)
        with pytest.raises(UsageError, match="no ordinary file"):
            find_config(place / "repo" / "m.onnx")


WRITTEN = {
    "above": "output: ../r.json",
    "absolute": "output: [here.json, /tmp/conf-r.json]",
    "home": "output: ~/r.json",
    "run directory": "\nrun-dir: ../run",
    "link": "run-dir: link/run",
    "link itself": "output: out.json",
    "around": "output: sub/../../r.json",
}


@pytest.mark.parametrize("case", WRITTEN)
def test_a_file_has_nothing_written_outside_of_its_folder(place, case):
    repo = place / "repo"
    (place / "other").mkdir()
    (repo / "link").symlink_to(place / "other", target_is_directory=True)
    (repo / "out.json").symlink_to(place / "other" / "r.json")
    (repo / "robaudit.yaml").write_text(WRITTEN[case])
    with pytest.raises(UsageError, match="lies outside of the file's folder") as caught:
        resolve_settings({}, {}, repo / "m.onnx")
    line = 2 if case == "run directory" else 1
    assert str(caught.value).startswith(f"line {line} of {repo / 'robaudit.yaml'}: ")
    (repo / "robaudit.yaml").write_text("output: [r.json, models/r.html]\nrun-dir: models/run\n")
    resolved = resolve_settings({"output": ["/tmp/conf-r.json"]}, {}, repo / "m.onnx")
    assert resolved.settings.output == ("/tmp/conf-r.json",)
    assert resolved.settings.run_dir == str(repo / "models" / "run")


@pytest.mark.parametrize("key", ["trust-model", "custom-ops", "sandbox", "load-timeout", "memory-limit", "fresh"])
def test_a_file_cannot_lift_what_keeps_a_model_in(place, key):
    (place / "robaudit.yaml").write_text(f"{key}: true\n")
    with pytest.raises(UsageError, match=f"line 1 of .*unknown key '{key}'"):
        seed(place / "m.onnx")


VALUES = {
    "a day": "seed: 2001-13-45",
    "digits": "seed: " + "9" * 5000,
    "digits in text": "batch-size: '" + "9" * 5000 + "'",
    "tag": "seed: !!int abc",
    "alias": "seed: &a 1\nsamples: *a",
    "twice": "seed: 1\nseed: 2",
    "infinity": "clean-accuracy: .inf",
    "fraction": "samples: 1.5",
    "list": "samples: [1]",
    "map": "profile: {a: b}",
    "radius": "eps: 1/0",
    "radius of digits": "eps: '" + "9" * 5000 + "/255'",
    "goal": "goal: 'every:" + "9" * 5000 + "'",
    "time": "time-budget: 1:30",
    "time of digits": "time-budget: '" + "9" * 5000 + "m'",
    "nested key": "input: {1: 2}",
    "key of no text": "1: 2",
    "long path": "data: " + "a" * 300,
    "long profile": "profile: " + "a" * 300,
    "home of nobody": "profile: ~nobody-is-called-so/x.yaml",
    "gates": "gates: [2001-13-45]",
    "gate of digits": "gates: ['robust_accuracy>=" + "9" * 5000 + "']",
    "gate's day": "gates: [{metric: robust_accuracy, min: 0.5, ignore: {until: 2001-13-45, reason: x}}]",
    "large": "seed: 1 #" + "x" * MIB,
}


@pytest.mark.parametrize("case", VALUES)
def test_values_that_cannot_be_are_one_sentence(place, case):
    file = place / "robaudit.yaml"
    file.write_text(f"{VALUES[case]}\n")
    with pytest.raises(UsageError) as caught:
        resolve_settings({}, {}, place / "m.onnx")
    text = str(caught.value)
    assert "\n" not in text
