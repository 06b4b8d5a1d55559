"""Files that may no longer be read, or are gone, once an audit has begun: a sentence, at whatever moment that is."""

from __future__ import annotations

import builtins
import dataclasses
import errno
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from model_files import linear_onnx
from PIL import Image
from run_kit import CLASSES, make_data, make_onnx, make_profile, make_request, make_script, run_here

from robaudit.audit.config.request import AuditRequest
from robaudit.audit.process.calling import in_child
from robaudit.audit.process.confinement import Confinement
from robaudit.audit.process.messages import unexpected
from robaudit.errors import AuditError, UsageError
from robaudit.files import sha256_file

TIMES = range(1, 6)
"""At which of the times that it is opened a file is taken away; enough for each that follows to be the last."""


@pytest.fixture
def take_away(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, int], list[str]]:
    """From a number of times on a file cannot be opened; what is returned names each try."""

    def take(path: Path, time: int) -> list[str]:
        tries: list[str] = []

        def closed(opened: Callable[..., Any]) -> Callable[..., Any]:
            def open_(name: Any, *more: Any, **named: Any) -> Any:
                if isinstance(name, str | os.PathLike) and os.path.abspath(name) == str(path):
                    tries.append(opened.__name__)
                    if len(tries) >= time:
                        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), os.fspath(name))
                return opened(name, *more, **named)

            return open_

        monkeypatch.setattr(os, "open", closed(os.open))
        for module in (builtins, io):
            monkeypatch.setattr(module, "open", closed(io.open))
        return tries

    return take


def audit(folder: Path, kind: str) -> tuple[AuditRequest, Path]:
    """What to audit, and the file of it that is taken away."""
    model = make_script(folder / "m.pt") if kind == "script" else make_onnx(folder / "m.onnx")
    data = make_data(folder / "d.npz", 4, wrong=0)
    request = make_request(model, data, make_profile(folder / "p.yaml", "\n  - {id: fgsm}\n", checks="[clean]"))
    if kind == "table":
        rows = np.random.default_rng(0).random((8, 6))
        lines = [",".join(map(str, row)) + f",{i % 4}" for i, row in enumerate(rows)]
        data = folder / "t.csv"
        data.write_text("\n".join(["a,b,c,d,e,f,label", *lines]))
        values = {"domain": (0.0, 1.0)}
        model = linear_onnx(folder / "t.onnx", ("N", 6), CLASSES)
        request = dataclasses.replace(request, model=model, data=data, input_values=values)
    return request, data if kind in ("arrays", "table") else model


@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize("kind", ["onnx", "script", "arrays", "table"])
def test_a_file_of_the_audit(tmp_path: Path, take_away: Callable[[Path, int], list[str]], kind: str, time: int) -> None:
    request, path = audit(tmp_path, kind)
    tries = take_away(path, time)
    said = ""
    try:
        assert run_here(request, tmp_path / "run").run.complete
    except UsageError as error:
        said = str(error)
    assert tries
    assert said.removeprefix("the table ") == (
        f"{path} cannot be read: Permission denied" if len(tries) >= time else ""
    )


@pytest.mark.parametrize("time", range(1, 8))
def test_an_image_costs_its_sample_alone(
    tmp_path: Path, take_away: Callable[[Path, int], list[str]], time: int
) -> None:
    request, _ = audit(tmp_path, "onnx")
    folder = tmp_path / "images"
    folder.mkdir()
    for i, pixels in enumerate(np.random.default_rng(0).integers(0, 256, (4, 6, 6), np.uint8)):
        Image.fromarray(pixels).save(folder / f"{i}.png")
    (folder / "labels.csv").write_text("file,label\n" + "".join(f"{i}.png,{i}\n" for i in range(4)))
    tries = take_away(folder / "0.png", time)
    result = run_here(dataclasses.replace(request, data=folder), tmp_path / "run")
    assert result.run.failed is None
    told = {sample.id: sample.error for sample in result.samples if sample.error}
    assert told == {} if len(tries) < time else {"0.png": "the image 0.png cannot be read: Permission denied"}
    assert result.attacks[0].status == "done"


def test_whatever_else_is_not_there_is_named() -> None:
    with pytest.raises(AuditError) as caught:
        in_child(sha256_file, Path("/nowhere/at all"), confinement=Confinement(), about="m")
    assert str(caught.value) == "'/nowhere/at all' cannot be used: No such file or directory"
    assert unexpected(OSError(errno.EBADF, "Bad file descriptor")).message.startswith("unexpected OSError: ")
