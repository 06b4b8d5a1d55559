"""Surrogates and stand-ins, and what lies beside them, that somebody made to hurt: each costs itself alone."""

from __future__ import annotations

import dataclasses
import json
import os
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
import torch
from archives import two_tables
from model_files import Net, script
from onnx.external_data_helper import set_external_data
from run_kit import (
    CLASSES,
    load,
    make_data,
    make_onnx,
    make_profile,
    make_request,
    make_script,
    run_here,
    scan,
    with_settings,
)

from robaudit.audit.config.request import AuditRequest
from robaudit.audit.result.document import Result
from robaudit.audit.run.identity import identity_of
from robaudit.errors import ChangedFileError, UsageError

ATTACKS = "\n  - {id: fgsm}\n  - {id: transfer-mi-fgsm, steps: 5}\n  - {id: square, queries: 20}\n"
ROLES = ("surrogate", "stand-in")
DONE = {
    "surrogate": {"fgsm": "done", "transfer-mi-fgsm": "unavailable", "square": "done"},
    "stand-in": {"fgsm": "unavailable", "transfer-mi-fgsm": "skipped", "square": "done"},
}
"""What becomes of the attacks where it cannot be used."""


class Linear(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.last = torch.nn.Linear(36, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(x.flatten(1))


class Talks(Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        print("\x1b[2Jcleared \x1b]52;c;aGk=\x07copied")  # noqa: T201
        return self.last(x.flatten(1))


def calling(path: Path, line: str) -> Path:
    """An archive whose code has one line more."""
    source = script(path.with_suffix(".plain"), Linear())
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w") as new:
        for info in old.infolist():
            new.writestr(info.filename, old.read(info).replace(b"    return ", f"    {line}\n    return ".encode()))
    return path


def elsewhere(path: Path, location: str) -> Path:
    """An ONNX file that keeps a weight in another one."""
    model = onnx.load(make_onnx(path))
    tensor = model.graph.initializer[0]
    (path.parent / "secret").write_bytes(tensor.raw_data)
    set_external_data(tensor, location)
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    path.write_bytes(model.SerializeToString())
    return path


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def inside(folder: Path) -> Path:
    folder.mkdir()
    return folder


HOSTILE: dict[str, tuple[Callable[[Path], Path], str]] = {
    "garbage": (
        lambda p: written(p / "bad.onnx", bytes(range(256)) * 9),
        "is neither an ONNX model nor a TorchScript archive",
    ),
    "empty": (lambda p: written(p / "bad.onnx", b""), "is empty; export the model again"),
    "text": (lambda p: written(p / "bad.pt", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"), "Git LFS"),
    "pickle": (lambda p: written(p / "bad.pt", b"\x80\x02}q\x00."), "pickle"),
    "cut zip": (lambda p: written(p / "bad.pt", make_script(p / "m").read_bytes()[:-99]), "is a truncated zip archive"),
    "two tables": (
        lambda p: written(p / "bad.pt", two_tables(script(p / "m", Net()), p / "written")),
        "is no archive that torch.jit.save wrote",
    ),
    "writes": (lambda p: calling(p / "bad.pt", f'_9 = ops.aten.save(torch.zeros([1]), "{p}/written")'), "aten::save"),
    "outside": (lambda p: elsewhere(inside(p / "in") / "bad.onnx", "../secret"), "'../secret'"),
    "absolute": (lambda p: elsewhere(p / "bad.onnx", "/etc/passwd"), "'/etc/passwd'"),
    "gone": (lambda p: elsewhere(p / "bad.onnx", "nowhere"), "'nowhere'"),
    "huge": (lambda p: elsewhere(p / "bad.onnx", "."), "'.'"),
}


@pytest.fixture
def audit(tmp_path: Path) -> AuditRequest:
    model, data = make_onnx(tmp_path / "m.onnx"), make_data(tmp_path / "d.npz", 6, wrong=0)
    return make_request(model, data, make_profile(tmp_path / "p.yaml", ATTACKS, eps=0.02, checks="[clean]"))


def beside(audit: AuditRequest, role: str, path: Path) -> AuditRequest:
    if role == "surrogate":
        return dataclasses.replace(audit, surrogates=(path,))
    return with_settings(audit, stand_in=str(path))


def statuses(result: Result) -> dict[str, str]:
    return {attack.id: attack.status for attack in result.attacks}


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_file_costs_itself_alone(tmp_path: Path, audit: AuditRequest, kind: str, role: str) -> None:
    make, words = HOSTILE[kind]
    path = make(inside(tmp_path / "other"))
    result = run_here(beside(audit, role, path), tmp_path / "run")
    assert statuses(result) == DONE[role]
    [error] = [error for error in result.errors if error.where in ROLES]
    assert error.where == role
    assert error.message.startswith(f"the {role} {path.name} cannot be used: ")
    assert words in error.message
    assert "unexpected" not in error.message
    assert "\n" not in error.message
    assert error.message in {attack.reason for attack in result.attacks}
    assert (result.run.failed, result.verdict.exit_code) == (None, 3)
    assert not list(tmp_path.rglob("written"))


# What lies beside them


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(3 * 2**30)


UNREAD: dict[str, Callable[[Path], object]] = {
    "pipe": os.mkfifo if hasattr(os, "mkfifo") else Path.mkdir,
    "folder": Path.mkdir,
    "sparse": sparse,
    "no text": lambda p: p.write_bytes(b"\xff\xfe{\x80"),
    "deep": lambda p: p.write_text('{"image_mean": ' + "[" * 200_000),
    "aliases": lambda p: p.write_text("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n"),
    "device": lambda p: p.symlink_to("/dev/zero"),
    "digits": lambda p: p.write_text("\n".join(f"{'9' * 5000} a{i}" for i in range(3))),
    "unhashable": lambda p: p.write_text('{"labels": [{"id": [1], "name": "a"}, {"id": {}, "name": "b"}]}'),
}
NAMES = ("config.json", "preprocessor_config.json", "processor_config.json", "labels.txt", "classes.json")
NONSENSE = {
    "factor": ("preprocessor_config.json", {"image_mean": [0.5], "rescale_factor": "much"}, "rescale_factor 'much' in"),
    "no factor": ("preprocessor_config.json", {"rescale_factor": [1e400]}, "rescale_factor [inf] in"),
    "zero": ("preprocessor_config.json", {"image_mean": [0.5], "rescale_factor": 0}, "a finite number other than 0"),
    "switch": ("preprocessor_config.json", {"image_mean": [0.5], "do_rescale": "false"}, "do_rescale 'false' in"),
    "map": ("preprocessor_config.json", {"image_mean": {"a": 1}}, "mean {'a': 1} in preprocessor_config.json"),
    "true": ("config.json", {"mean": [True]}, "mean [True] in config.json cannot be understood"),
    "NaN": ("config.json", {"mean": [0.5], "std": [float("nan")]}, "the std (config.json) must hold finite numbers"),
    "not above 0": ("config.json", {"mean": [0.5], "std": [0]}, "the std (config.json) must hold numbers above 0"),
    "channels": ("config.json", {"mean": [0.5] * 2}, "the mean (config.json) has 2 values for an input of 1 channels"),
    "nested": ("processor_config.json", {"image_processor": {"image_mean": "grey"}}, "mean 'grey' in processor_config"),
}
"""Files, what they say, and what is said of that."""


def unsaid(audit: AuditRequest) -> AuditRequest:
    """Nothing but the files beside a model says what its input means."""
    return dataclasses.replace(audit, input_values={"layout": "nchw"})


@pytest.mark.parametrize("kind", UNREAD)
def test_a_file_beside_it_that_cannot_be_read_says_nothing(tmp_path: Path, audit: AuditRequest, kind: str) -> None:
    path = make_script(inside(tmp_path / "other") / "s.pt")
    audit = beside(beside(audit, "surrogate", path), "stand-in", path)
    plain = run_here(audit, tmp_path / "plain")
    for name in NAMES:
        UNREAD[kind](path.parent / name)
    began = time.monotonic()
    known = identity_of(audit)
    assert time.monotonic() - began < 1.0
    result = run_here(dataclasses.replace(audit, files=known.files), tmp_path / "run")
    assert statuses(result) == statuses(plain) == {"fgsm": "done", "transfer-mi-fgsm": "done", "square": "done"}
    assert [s.broken_by for s in result.samples] == [s.broken_by for s in plain.samples]
    assert not result.errors


@pytest.mark.parametrize("kind", NONSENSE)
def test_a_file_beside_it_that_says_nonsense_costs_it_alone(tmp_path: Path, audit: AuditRequest, kind: str) -> None:
    name, content, words = NONSENSE[kind]
    path = make_script(inside(tmp_path / "other") / "s.pt")
    (path.parent / name).write_text(json.dumps(content))
    request = unsaid(beside(beside(audit, "surrogate", path), "stand-in", path))
    result = run_here(request, tmp_path / "run")
    assert statuses(result) == {"fgsm": "unavailable", "transfer-mi-fgsm": "unavailable", "square": "done"}
    told = {error.where: error.message for error in result.errors if error.where in ROLES}
    assert set(told) == set(ROLES)
    for role in ROLES:
        assert told[role].startswith(f"the {role} s.pt cannot be used: ")
        assert words in told[role]
        assert "unexpected" not in told[role]


@pytest.mark.parametrize("kind", NONSENSE)
def test_beside_the_model_itself_nonsense_is_refused(tmp_path: Path, audit: AuditRequest, kind: str) -> None:
    name, content, words = NONSENSE[kind]
    path = make_script(inside(tmp_path / "other") / "s.pt")
    (path.parent / name).write_text(json.dumps(content))
    with pytest.raises(UsageError) as caught:
        run_here(unsaid(dataclasses.replace(audit, model=path)), tmp_path / "run")
    assert words in str(caught.value)


@pytest.mark.parametrize("kind", UNREAD)
def test_beside_the_model_itself_what_cannot_be_read_says_nothing(
    tmp_path: Path, audit: AuditRequest, kind: str
) -> None:
    path = make_script(inside(tmp_path / "other") / "s.pt")
    for name in NAMES:
        UNREAD[kind](path.parent / name)
    audit = unsaid(dataclasses.replace(audit, model=path))
    began = time.monotonic()
    known = identity_of(audit)
    assert time.monotonic() - began < 1.0
    result = run_here(dataclasses.replace(audit, files=known.files), tmp_path / "run")
    assert all(result.target.input.provenance[name].startswith("assumed") for name in ("mean", "std", "scale"))
    assert statuses(result)["fgsm"] == "done"


def test_a_file_beside_the_model_that_becomes_another_is_not_read(tmp_path: Path, audit: AuditRequest) -> None:
    """Also where it was too large when the run was named."""
    sparse(tmp_path / "config.json")
    request = unsaid(audit)
    request = dataclasses.replace(request, files=identity_of(request).files)
    (tmp_path / "config.json").write_text(json.dumps({"mean": [0.5], "std": [0.5], "architecture": "x"}))
    with pytest.raises(ChangedFileError, match=r"config\.json could not be read when the audit began"):
        run_here(request, tmp_path / "run")


# As a user runs it


def test_what_it_prints_reaches_the_terminal_cleaned(tmp_path: Path, audit: AuditRequest) -> None:
    path = script(tmp_path / "talks.pt", Talks())
    assert audit.data is not None
    done = scan(audit.model, audit.data, tmp_path / "p.yaml", tmp_path / "run", "--surrogate", str(path), "-f", "json")
    assert "cleared" in done.stderr
    for output in (done.stdout, done.stderr):
        assert not {letter for letter in output if ord(letter) < 32} - {"\n"}
    assert set(statuses(load(tmp_path / "run")).values()) == {"done"}
