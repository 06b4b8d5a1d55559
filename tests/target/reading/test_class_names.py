"""Class names in the forms in which tools write them down."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from model_files import Net

from robaudit.target.files.extras import extra_files
from robaudit.target.reading.class_names import declared_names, names_in

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
ABC = ["zebra", "ant", "mole"]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("{0: 'zebra', 1: 'ant', 2: 'mole'}", ABC),
        ("{2: 'mole', 0: 'zebra', 1: 'ant'}", ABC),
        ('{"0": "zebra", "1": "ant", "2": "mole"}', ABC),
        ('{"zebra": 0, "mole": 2, "ant": 1}', ABC),
        ("['zebra', 'ant', 'mole']", ABC),
        ("('zebra', 'ant', 'mole')", ABC),
        ('["zebra", "ant", "mole"]', ABC),
        ("zebra, ant,mole", ABC),
        ("zebra;ant;mole", ABC),
        ("zebra\nant\r\nmole\n\n", ABC),
        ("0 zebra\n1 ant\n2 mole", ABC),
        ("0: zebra\n1: ant\n2: mole", ABC),
        ("{0: \"it's\", 1: 'a, b'}", ["it's", "a, b"]),
        ("{0: 'a', 3: 'd'}", ["a", "1", "2", "d"]),
        ('{"1": 0, "2": 1}', ["1", "2"]),
        ('{"0": "7", "1": "5"}', ["7", "5"]),
        ('{"0": ["n01440764", "tench"], "1": ["n01443537", "goldfish"]}', ["n01440764", "n01443537"]),
        ("n01440764 tench, Tinca tinca\nn01443537 goldfish", ["n01440764", "n01443537"]),
        ('[{"id": 1, "name": "b"}, {"id": 0, "name": "a"}]', ["a", "b"]),
        ("{0: 'a'", None),
        ("__import__('os').getcwd()", ["__import__('os').getcwd()"]),
        ("{0: __import__('os')}", None),
        ("[" * 5000, None),
        ("{}", None),
        ("", None),
        ('{"0": "a", "x": "b"}', None),
        ('{"0": "a", "99999999": "b"}', None),
    ],
)
def test_names_in_a_text(text, names):
    assert names_in(text) == names


@pytest.mark.parametrize("key", ["robaudit.classes", "names", "classes", "class_names", "labels", "id2label", "Labels"])
def test_names_in_the_metadata(tmp_path, key):
    found = declared_names(tmp_path / "m.onnx", {key: "{0: 'zebra', 1: 'ant', 2: 'mole'}"}, 3)
    assert found.names == ABC
    assert found.origin == f"metadata ({key.lower()})"


def beside(folder: Path, name: str, content: object) -> None:
    (folder / name).write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")


def test_the_most_trusted_place_counts(tmp_path):
    folder = tmp_path / "repo" / "onnx"
    folder.mkdir(parents=True)
    path = folder / "m.onnx"
    seen = []

    def look(metadata=None):
        found = declared_names(path, metadata or {}, 2)
        seen.append((found.names, found.origin))

    beside(tmp_path, "config.json", {"id2label": {"0": "x", "1": "y"}})
    look()
    beside(folder, "labels.txt", "a\nb\n")
    look()
    beside(folder, "m.labels.txt", "c\nd\n")
    look()
    beside(tmp_path / "repo", "config.json", {"id2label": {"0": "LABEL_0", "1": "LABEL_1"}})
    look()
    beside(tmp_path / "repo", "config.json", {"label2id": {"f": 1, "e": 0}})
    look()
    beside(folder, "config.json", {"pretrained_cfg": {"label_names": ["g", "h"]}})
    look()
    look({"names": "{0: 'i', 1: 'j'}"})
    look({"names": "{0: 'i', 1: 'j'}", "robaudit.classes": "k, l"})
    assert seen == [
        (None, ""),
        (["a", "b"], "file labels.txt"),
        (["c", "d"], "file m.labels.txt"),
        (["c", "d"], "file m.labels.txt"),
        (["e", "f"], "../config.json (label2id)"),
        (["g", "h"], "config.json (label_names)"),
        (["i", "j"], "metadata (names)"),
        (["k", "l"], "metadata (robaudit.classes)"),
    ]


def test_names_of_another_number_are_told(tmp_path):
    beside(tmp_path, "config.json", {"id2label": {"1": "dog", "0": "cat"}})
    found = declared_names(tmp_path / "m.onnx", {}, 5)
    assert found.names is None
    assert found.note == "the config.json (id2label) has 2 class names and the model 5 classes: they are not used"
    assert "background class first" in str(declared_names(tmp_path / "m.onnx", {}, 3).note)
    beside(tmp_path, "labels.txt", "a\nb\nc\nd\ne")
    found = declared_names(tmp_path / "m.onnx", {}, 5)
    assert found.names == ["a", "b", "c", "d", "e"]
    assert "2 class names" in str(found.note)


def test_texts_in_an_archive(tmp_path):
    config = json.dumps({"names": {"0": "a", "1": "b"}, "task": "classify", "imgsz": [8, 8]})
    extra = {"config.txt": config, "labels.txt": "x\ny", "classes.json": json.dumps({"0": "p", "1": "q"})}
    made = torch.jit.script(Net().eval())
    torch.jit.save(made, str(tmp_path / "m.pt"), _extra_files=extra)
    found = extra_files(tmp_path / "m.pt")
    assert found == {
        "names": '{"0": "a", "1": "b"}',
        "task": "classify",
        "imgsz": "[8, 8]",
        "labels": "x\ny",
        "classes": '{"0": "p", "1": "q"}',
    }
    assert declared_names(tmp_path / "m.pt", found, 2).names == ["a", "b"]
    (tmp_path / "bad.pt").write_bytes(b"PK\x03\x04")
    assert extra_files(tmp_path / "bad.pt") == {}
