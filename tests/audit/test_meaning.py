from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from run_kit import make_profile, make_request, run_here

from robaudit.audit import loading
from robaudit.audit.journal import Journal
from robaudit.audit.meaning import LOOKS, apply_meaning, search_meaning
from robaudit.data.open import open_dataset
from robaudit.data.source import Dataset
from robaudit.errors import UnreadableSampleError
from robaudit.target.load import load_target
from robaudit.target.spec import SpecOverrides
from robaudit.target.target import Target
from robaudit.threat.random import key_of

IMAGENET = {"mean": "0.485,0.456,0.406", "std": "0.229,0.224,0.225"}
TORCH = "ImageNet mean and std, RGB"


def write_model(path: Path, *, shape: tuple[Any, ...] = ("N", 3, 6, 6), gain: float = 1.0, bias: float = 1.0) -> Path:
    """Two layers whose classes depend on offset and size of the input, unless ``bias`` is 0."""
    rng = np.random.default_rng(3)
    w1 = rng.normal(size=(108, 24)) * gain
    b1 = rng.normal(size=24) * 3 * bias
    w2 = rng.normal(size=(24, 5))
    act = "Tanh" if bias else "Relu"
    arrays = {"w1": w1, "b1": b1, "w2": w2, "s": np.array([-1, 108], np.int64)}
    nodes = [
        helper.make_node("Reshape", ["x", "s"], ["f"]),
        helper.make_node("Gemm", ["f", "w1", "b1"], ["h"]),
        helper.make_node(act, ["h"], ["a"]),
        helper.make_node("MatMul", ["a", "w2"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 5])],
        [numpy_helper.from_array(v if v.dtype == np.int64 else v.astype(np.float32), k) for k, v in arrays.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def opened(path: Path, sample: tuple[int, ...] | None = None, **declared: str) -> Target:
    return load_target(path, overrides=SpecOverrides(declared, {}), device="cpu", sample_shape=sample)


def write_data(model: Path, count: int = 100, sample: tuple[int, ...] | None = None, **truth: str) -> Path:
    """Random images, labelled by the model under what its input truly means."""
    x = np.random.default_rng(0).integers(0, 256, (count, 3, 6, 6), dtype=np.uint8)
    # images of different brightness, as photos are
    x = (x * np.random.default_rng(1).random((count, 3, 1, 1))).astype(np.uint8)
    y = opened(model, sample, **truth).labels(torch.from_numpy(x / np.float32(255)))
    path = model.with_suffix(".npz")
    np.savez(path, x=x, y=y.numpy())
    return path


def dataset(target: Target, path: Path) -> Dataset:
    spec = target.spec
    return open_dataset(
        path,
        shape=spec.shape,
        lo=spec.lo,
        hi=spec.hi,
        crop=spec.crop,
        interpolation=spec.interpolation,
        num_classes=target.num_classes,
        class_names=None,
        labels=None,
    )


def search(target: Target, path: Path, count: int | None = None) -> dict[str, Any]:
    data = dataset(target, path)
    found = search_meaning(target, data, data.draw(count, 0), 0)
    assert found is not None
    return found


def status(found: dict[str, Any]) -> dict[str, str]:
    return {c["name"]: c["status"] for c in found["candidates"]}


def first(data: Dataset, count: int) -> list[int]:
    """Samples in the order in which they are tried."""
    return sorted(range(len(data)), key=lambda i: (key_of("meaning", 0, data.ids[i]), i))[:count]


def test_the_truth_is_found_taken_and_still_assumed(tmp_path):
    model = write_model(tmp_path / "m.onnx")
    target = opened(model)
    found = search(target, write_data(model, **IMAGENET))
    assert found["taken"] == TORCH
    assert target.spec.mean == (), "the search itself leaves the spec alone"
    apply_meaning(target, found)
    assert target.spec.mean == (0.485, 0.456, 0.406)
    assert target.spec.assumed == ("mean", "std", "scale", "domain", "channels")
    assert target.spec.provenance["mean"].startswith("assumed: searched, ")
    assert "next best" in target.spec.provenance["mean"]
    assert f"{TORCH} is right on" in found["sentence"]
    assert target.facts["input search"]["taken"] == TORCH
    assert status(found)["[0, 1], RGB"] == "beaten"


@pytest.mark.parametrize(
    ("truth", "name"),
    [
        ({"mean": "0.5", "std": "0.5", "channels": "bgr"}, "[-1, 1], BGR"),
        ({"scale": "255", "mean": "123.68,116.779,103.939", "channels": "bgr"}, "0 to 255 less the ImageNet mean, BGR"),
    ],
)
def test_channel_order_and_size_are_found(tmp_path, truth, name):
    model = write_model(tmp_path / "m.onnx", gain=0.02 if "scale" in truth else 1.0)
    found = search(opened(model), write_data(model, **truth))
    assert found["taken"] == name


def test_the_default_wins_where_it_is_the_truth(tmp_path):
    model = write_model(tmp_path / "m.onnx")
    found = search(opened(model), write_data(model, scale="1"))
    assert (found["taken"], found["changes"]) == (None, {})
    assert "[0, 1], RGB is right on" in found["sentence"]
    assert status(found)["[0, 1], RGB"] == "taken"
    assert "right" in found["provenance"]["mean"]


def test_few_samples_prove_nothing_and_the_default_stays(tmp_path):
    model = write_model(tmp_path / "m.onnx")
    target = opened(model)
    found = search(target, write_data(model, **IMAGENET), 6)
    best = next(c for c in found["candidates"] if c["name"] == TORCH)
    assert (best["right"], best["of"]) == (6, 6)
    assert found["taken"] is None
    apply_meaning(target, found)
    assert (target.spec.mean, target.spec.provenance["mean"]) == ((), "assumed: searched, no candidate wins")


def test_a_model_that_does_not_care_keeps_the_default(tmp_path):
    model = write_model(tmp_path / "m.onnx", bias=0.0)  # homogeneous: 0 to 255 is the same to it
    found = search(opened(model), write_data(model, scale="255"))
    assert found["taken"] is None
    assert status(found)["0 to 255, RGB"] == "left"
    assert "as good: 0 to 255, RGB" in found["sentence"]


def test_where_nothing_makes_the_model_right_it_says_so(tmp_path):
    model = write_model(tmp_path / "m.onnx")
    path = write_data(model, mean="40", std="3")
    with np.load(path) as archive:
        x = archive["x"]
    np.savez(path, x=x, y=np.random.default_rng(5).integers(0, 5, len(x)))
    found = search(opened(model), path)
    assert "none of the 12 candidates makes the model right" in found["sentence"]
    assert "--mean" in found["sentence"]
    assert found["changes"] == {}
    assert found["samples"] <= 100, "it gives up early"


def test_what_is_declared_is_not_searched(tmp_path):
    model = write_model(tmp_path / "m.onnx")
    path = write_data(model, **IMAGENET, channels="bgr")
    half = opened(model, mean="0.5", std="0.5")
    assert half.spec.assumed == ()
    data = dataset(half, path)
    assert search_meaning(half, data, data.draw(None, 0), 0) is None
    ordered = opened(model, channels="bgr")
    found = search(ordered, path)
    assert next(c["name"] for c in found["candidates"]) == "[0, 1]"
    assert found["taken"] == "ImageNet mean and std"
    apply_meaning(ordered, found)
    assert (ordered.spec.channels, ordered.spec.provenance["channels"]) == ("bgr", "flag")


def test_a_free_layout_is_found(tmp_path):
    model = write_model(tmp_path / "m.onnx", shape=("N", "a", "b", "c"))
    path = write_data(model, sample=(3, 6, 6), layout="nhwc", scale="1")
    target = opened(model, (3, 6, 6), scale="1")
    assert target.spec.assumed == ("layout",)
    found = search(target, path)
    assert found["taken"] == "NHWC"
    apply_meaning(target, found)
    assert target.spec.file_shape == (6, 6, 3)
    assert (
        float(
            (target.labels(torch.from_numpy(np.load(path)["x"] / np.float32(255))).numpy() == np.load(path)["y"]).mean()
        )
        == 1
    )


def test_a_layout_that_the_file_does_not_take_is_not_accepted(tmp_path):
    model = write_model(tmp_path / "m.onnx")
    target = opened(model)
    target.spec = opened(model, scale="1").spec.__class__(
        **{**vars(target.spec), "provenance": {**target.spec.provenance, "layout": "assumed"}}
    )
    found = search(target, write_data(model, scale="1"))
    assert set(status(found).values()) == {"taken", "beaten", "not accepted"}
    assert status(found)["[0, 1], RGB, NHWC"] == "not accepted"


def test_evaluations_are_bounded_and_unreadable_samples_left_out(tmp_path, monkeypatch):
    model = write_model(tmp_path / "m.onnx")
    target = opened(model)
    data = dataset(target, write_data(model, 300, **IMAGENET))
    load = data.load

    def broken(index: int) -> Any:
        if index % 10 == 0:
            raise UnreadableSampleError("damaged")
        return load(index)

    monkeypatch.setattr(data, "load", broken)
    found = search_meaning(target, data, data.draw(None, 0), 0)
    assert found is not None
    assert found["taken"] == TORCH
    assert all(c["of"] <= LOOKS[-1] for c in found["candidates"])
    assert found["samples"] == sum(i % 10 != 0 for i in first(data, 50))
    assert found["evaluations"] < 12 * found["samples"], "some lost at the first look"


def test_the_order_of_the_data_does_not_matter(tmp_path):
    model = write_model(tmp_path / "m.onnx")
    path = write_data(model, **IMAGENET)
    first = search(opened(model), path, 40)
    again = search(opened(model), path, 40)
    assert first == again


def test_without_labels_nothing_is_searched(tmp_path):
    model = write_model(tmp_path / "m.onnx")
    path = write_data(model, **IMAGENET)
    np.savez(path, x=np.load(path)["x"])
    request = make_request(model, path, make_profile(tmp_path / "p.yaml"), input_values={}, reference="model")
    loaded = loading.load(request)
    assert loaded.meanings == []
    assert loaded.target.spec.mean == ()


def test_an_audit_searches_once_reports_it_and_no_gate_passes(tmp_path, monkeypatch):
    model = write_model(tmp_path / "m.onnx")
    data = write_data(model, 40, **IMAGENET)
    profile = make_profile(tmp_path / "p.yaml", "\n  - {id: fgsm}\n", eps=0.001)
    text = profile.read_text() + "  - {metric: clean_accuracy, min: 0.1}\n"
    profile.write_text(text)
    request = make_request(model, data, profile, input_values={})
    searches: list[int] = []
    searching = loading.search_meaning

    def counted(*args: Any) -> Any:
        searches.append(1)
        return searching(*args)

    monkeypatch.setattr(loading, "search_meaning", counted)
    run_here(request, tmp_path / "run", stop=lambda: True)
    result = run_here(request, tmp_path / "run")
    assert len(searches) == 1, "the second session takes it from the journal"
    journal = Journal(tmp_path / "run")
    journal.load()
    assert len(list(journal.of("meaning"))) == 1
    assert result.target.input.mean == (0.485, 0.456, 0.406)
    assert result.clean.accuracy is not None
    assert result.clean.accuracy.estimate == 1.0
    assert any(TORCH in sentence for sentence in result.target.assumed)
    assert result.target.details["input search"]["taken"] == TORCH
    gates = {gate.metric: gate.status for gate in result.gates}
    assert gates["clean_accuracy"] == "invalid"
