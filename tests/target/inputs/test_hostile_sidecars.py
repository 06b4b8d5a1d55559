"""Files beside a model that somebody made to hurt: they say nothing, and cost nothing."""

from __future__ import annotations

import contextlib
import json
import os
import time
import zipfile

import pytest
import torch

import robaudit.memory
from robaudit.errors import UsageError
from robaudit.target.files.onnx.external import may_have_weights_elsewhere
from robaudit.target.files.sniff import model_format
from robaudit.target.files.torchscript.file import open_torchscript
from robaudit.target.inputs.sidecar import from_huggingface, from_timm, from_ultralytics
from robaudit.target.reading.class_names import declared_names

TEXTS = {
    "deep list": b"[" * 200_000,
    "deep map": b'{"image_mean":' * 100_000,
    "digits": b'{"image_mean": ' + b"9" * 5000 + b"}",
    "no text": b"\xff\xfe\x00{",
    "cut": b'{"image_mean": [0.5',
    "no map": b"[1, 2]",
    "empty": b"",
}
KINDS = ("folder", "dangling", "loop", "pipe", "zero", "sparse")
NAMES = ("preprocessor_config.json", "processor_config.json", "config.json")


def place(path, kind):
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "sparse":
        with path.open("wb") as file:
            file.truncate(2**40)
    else:
        path.symlink_to({"dangling": "nowhere", "loop": path.name, "zero": "/dev/zero"}[kind])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="NOT TESTED: no named pipes here")
@pytest.mark.parametrize("kind", [*TEXTS, *KINDS])
def test_a_sidecar_that_cannot_be_read_says_nothing(tmp_path, kind):
    began = time.monotonic()
    for name in (*NAMES, "labels.txt", "classes.json"):
        if kind in TEXTS:
            (tmp_path / name).write_bytes(TEXTS[kind])
        else:
            place(tmp_path / name, kind)
    assert [from_huggingface(tmp_path / name) for name in NAMES[:2]] == [{}, {}]
    assert from_timm(tmp_path / "config.json") == {}
    assert declared_names(tmp_path / "model.onnx", {}, 3).names is None
    assert time.monotonic() - began < 10


def test_a_sidecar_with_the_mark_of_a_windows_editor_is_read(tmp_path):
    path = tmp_path / "config.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps({"mean": [0.5], "std": [0.25], "architecture": "x"}).encode())
    assert from_timm(path)["mean"] == (0.5,)


def test_a_model_that_is_larger_than_any_onnx_file_is_refused_unread(tmp_path):
    path = tmp_path / "model.onnx"
    with path.open("wb") as file:
        file.truncate(6 * 2**30)
    began = time.monotonic()
    with pytest.raises(UsageError, match=r"6\.0 GB, and an ONNX file holds 2 GB at most"):
        model_format(path)
    assert not may_have_weights_elsewhere(path)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("before", [0, 2**22 - 4, 2**22, 2**22 + 3])
def test_the_word_that_tells_of_other_files_is_found_wherever_it_stands(tmp_path, before):
    path = tmp_path / "model.onnx"
    path.write_bytes(bytes(before) + b"location" + bytes(5))
    assert may_have_weights_elsewhere(path)
    path.write_bytes(bytes(before) + b"locatio" + bytes(5))
    assert not may_have_weights_elsewhere(path)


HUGE = [
    10**400,
    1e308,
    float("inf"),
    float("nan"),
    -1,
    0,
    "9" * 5000,
    [10**400] * 3,
    [[1]],
    {"a": 1},
    {"height": 10**9},
]


@pytest.mark.parametrize("value", HUGE, ids=range(len(HUGE)))
def test_values_that_cannot_be_are_refused_in_a_sentence(tmp_path, value):
    path = tmp_path / "preprocessor_config.json"
    for name in ("image_mean", "image_std", "rescale_factor", "size", "crop_size", "crop_pct", "resample"):
        base = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "size": 8, "crop_size": 8, "do_center_crop": True}
        path.write_text(json.dumps({**base, name: value}))
        with contextlib.suppress(UsageError):
            found = from_huggingface(path)
            assert max(found.get("resize", (8, 8))) <= 2**14
        timm = tmp_path / "config.json"
        key = {"image_mean": "mean", "image_std": "std", "size": "input_size", "resample": "interpolation"}.get(
            name, name
        )
        timm.write_text(json.dumps({"architecture": "x", key: value}))
        with contextlib.suppress(UsageError):
            from_timm(timm)
    with contextlib.suppress(UsageError):
        from_ultralytics({"names": "x", "task": "classify", "imgsz": str(value)})


def test_a_message_does_not_repeat_what_is_long(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"architecture": "x", "mean": ["9" * 5000, "x"]}))
    with pytest.raises(UsageError, match=r"mean .* in config\.json cannot be understood") as caught:
        from_timm(path)
    assert len(str(caught.value)) < 200


def test_an_archive_that_unpacks_to_more_than_memory_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    path = tmp_path / "model.pt"
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), str(path))
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model/data/9", bytes(10**7))
    monkeypatch.setattr(robaudit.memory, "available_memory", lambda: 10**6)
    assert path.stat().st_size < 10**6
    with pytest.raises(UsageError, match=r"what .*model\.pt holds, unpacked, would take about"):
        open_torchscript(path, torch.device("cpu"), trust=False)
