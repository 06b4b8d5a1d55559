from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from data_kit import open_dataset
from model_files import write_onnx
from onnx import TensorProto, helper, numpy_helper
from run_kit import make_profile, make_request, run_here
from target_kit import complete

from robaudit.audit.journal.journal import Journal
from robaudit.audit.journal.records.session import MeaningFound
from robaudit.audit.session import loading
from robaudit.audit.session.meaning_search import LOOKS, search_meaning, with_meaning
from robaudit.data.source import Dataset
from robaudit.errors import UnreadableSampleError
from robaudit.target.inputs.spec import SpecOverrides
from robaudit.target.load import open_target
from robaudit.target.reading.opened import OpenedTarget

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


def opened(path: Path, sample: tuple[int, ...] | None = None, **declared: str) -> OpenedTarget:
    return open_target(path, overrides=SpecOverrides(declared, {}), device="cpu", sample_shape=sample)


def write_data(model: Path, count: int = 100, sample: tuple[int, ...] | None = None, **truth: str) -> Path:
    """Random images, labelled by the model under what its input truly means."""
    x = np.random.default_rng(0).integers(0, 256, (count, 3, 6, 6), dtype=np.uint8)
    # images of different brightness, as photos are
    x = (x * np.random.default_rng(1).random((count, 3, 1, 1))).astype(np.uint8)
    y = opened(model, sample, **truth).labels(torch.from_numpy(x / np.float32(255)))
    path = model.with_suffix(".npz")
    np.savez(path, x=x, y=y.numpy())
    return path


def dataset(target: OpenedTarget, path: Path) -> Dataset:
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


def search(target: OpenedTarget, path: Path, count: int | None = None) -> dict[str, Any]:
    data = dataset(target, path)
    found = search_meaning(target, data, data.spread(0)[:count])
    assert found is not None
    return found


def status(found: dict[str, Any]) -> dict[str, str]:
    return {c.name: c.status for c in found.candidates}


def test_the_truth_is_found_taken_and_still_assumed(tmp_path):
    model = write_model(tmp_path / "m.onnx")
    target = opened(model)
    found = search(target, write_data(model, **IMAGENET))
    assert found.taken == TORCH
    assert target.spec.mean == (), "the search itself leaves the spec alone"
    target = with_meaning(target, found)
    assert target.spec.mean == (0.485, 0.456, 0.406)
    assert target.spec.assumed == ("mean", "std", "scale", "domain", "channels")
    assert target.spec.provenance["mean"].startswith("assumed: searched, ")
    assert "next best" in target.spec.provenance["mean"]
    assert f"{TORCH} is right on" in found.sentence
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
    assert found.taken == name


def test_the_default_wins_where_it_is_the_truth(tmp_path):
    model = write_model(tmp_path / "m.onnx")
    found = search(opened(model), write_data(model, scale="1"))
    assert (found.taken, found.changes) == (None, {})
    assert "[0, 1], RGB is right on" in found.sentence
    assert status(found)["[0, 1], RGB"] == "taken"
    assert "right" in found.provenance["mean"]


def test_few_samples_prove_nothing_and_the_default_stays(tmp_path):
    model = write_model(tmp_path / "m.onnx")
    target = opened(model)
    found = search(target, write_data(model, **IMAGENET), 6)
    best = next(c for c in found.candidates if c.name == TORCH)
    assert (best.right, best.of) == (6, 6)
    assert found.taken is None
    target = with_meaning(target, found)
    assert (target.spec.mean, target.spec.provenance["mean"]) == ((), "assumed: searched, no candidate wins")


def test_a_model_that_does_not_care_keeps_the_default(tmp_path):
    model = write_model(tmp_path / "m.onnx", bias=0.0)  # homogeneous: 0 to 255 is the same to it
    found = search(opened(model), write_data(model, scale="255"))
    assert found.taken is None
    assert status(found)["0 to 255, RGB"] == "left"
    assert "as good: 0 to 255, RGB" in found.sentence


def test_where_nothing_makes_the_model_right_it_says_so(tmp_path):
    model = write_model(tmp_path / "m.onnx")
    path = write_data(model, mean="40", std="3")
    with np.load(path) as archive:
        x = archive["x"]
    np.savez(path, x=x, y=np.random.default_rng(5).integers(0, 5, len(x)))
    found = search(opened(model), path)
    assert "none of the 12 candidates is surely right more often than naming one class always" in found.sentence
    assert "--mean" in found.sentence
    assert found.changes == {}
    assert found.samples <= 100, "it gives up early"


def test_what_is_declared_is_not_searched(tmp_path):
    model = write_model(tmp_path / "m.onnx")
    path = write_data(model, **IMAGENET, channels="bgr")
    half = opened(model, mean="0.5", std="0.5")
    assert half.spec.assumed == ()
    data = dataset(half, path)
    assert search_meaning(half, data, data.spread(0)) is None
    ordered = opened(model, channels="bgr")
    found = search(ordered, path)
    assert next(c.name for c in found.candidates) == "[0, 1]"
    assert found.taken == "ImageNet mean and std"
    with_meaning(ordered, found)
    assert (ordered.spec.channels, ordered.spec.provenance["channels"]) == ("bgr", "flag")


def test_a_free_layout_is_found(tmp_path):
    model = write_model(tmp_path / "m.onnx", shape=("N", "a", "b", "c"))
    path = write_data(model, sample=(3, 6, 6), layout="nhwc", scale="1")
    target = opened(model, (3, 6, 6), scale="1")
    assert target.spec.assumed == ("layout",)
    found = search(target, path)
    assert found.taken == "NHWC"
    target = with_meaning(target, found)
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
    provenance = {**target.spec.provenance, "layout": "assumed"}
    target = target.reread(spec=dataclasses.replace(target.spec, provenance=provenance))
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
    found = search_meaning(target, data, data.spread(0))
    assert found is not None
    assert found.taken == TORCH
    assert all(c.of <= LOOKS[-1] for c in found.candidates)
    assert found.samples in LOOKS, "unreadable samples are replaced by others"
    assert found.evaluations < 12 * found.samples, "some lost at the first look"


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
    assert loaded.opened.spec.mean == ()


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
    assert len(list(journal.of(MeaningFound))) == 1
    assert result.target.input.mean == (0.485, 0.456, 0.406)
    assert result.clean.accuracy is not None
    assert result.clean.accuracy.estimate == 1.0
    assert any(TORCH in sentence for sentence in result.target.assumed)
    assert result.target.details["input search"]["taken"] == TORCH
    gates = {gate.metric: gate.status for gate in result.gates}
    assert gates["clean_accuracy"] == "invalid"


def grey_data(path: Path, count: int = 60, seed: int = 0, **arrays: np.ndarray) -> Path:
    """Dark images of class 0 and bright ones of class 1, both apart from the middle."""
    rng = np.random.default_rng(seed)
    y = np.arange(count) % 2
    levels = np.where(y == 1, 150, 60) + rng.integers(-8, 9, count)
    x = (levels[:, None, None, None] + rng.integers(-3, 4, (count, 3, 6, 6))).astype(np.uint8)
    np.savez(path, **{"x": x, "y": y, **arrays})
    return path


def one_number(path: Path, *end: str, middle: float = 0.41, gain: float = 40.0, numbers: int = 1) -> Path:
    """gain * (mean - middle) of an image, then unary operators; with two numbers, the first is 0."""
    w = np.zeros((108, numbers), np.float32)
    w[:, -1] = gain / 108
    b = np.zeros(numbers, np.float32)
    b[-1] = -gain * middle
    names = ["z", *(f"e{i}" for i in range(len(end)))]
    names[-1] = "y"
    nodes = [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("Gemm", ["f", "w", "b"], [names[0]])]
    nodes += [
        helper.make_node(op, [a], [b]) if op != "Div" else helper.make_node("Div", [a, "one"], [b])
        for op, a, b in zip(end, names, names[1:], strict=False)
    ]
    constants = {"w": w, "b": b} | ({"one": np.float32(4)} if "Div" in end else {})
    outputs = {"y": (["N", numbers], TensorProto.FLOAT)}
    return write_onnx(path, nodes, ["N", 3, 6, 6], constants, outputs=outputs)


ENDS = [(), ("Sigmoid",), ("Tanh",), ("Sigmoid", "Log"), ("Softsign", "Div")]


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("truth", [{"scale": "1"}, {"mean": "0.5", "std": "0.5"}, {"scale": "255"}])
def test_one_number_is_read_as_the_audit_reads_it(tmp_path, end, truth):
    """The middle of the model lies between dark and bright only as the truth reads images."""
    middle, size = {"1": (0.41, 1.0), "0.5": (-0.18, 1.0), "255": (104.5, 1 / 255)}[next(iter(truth.values()))]
    model = one_number(tmp_path / "m.onnx", *end, middle=middle, gain=40 * size)
    path = grey_data(tmp_path / "d.npz")
    declared = opened(model, **truth)
    with np.load(path) as archive:
        x, y = torch.from_numpy(archive["x"] / np.float32(255)), archive["y"]
    declared = complete(declared, x[:25])
    assert declared.labels(x).tolist() == y.tolist(), "as declared, the model is right on all"
    found = search(opened(model), path)
    target = opened(model)
    target = with_meaning(target, found)
    target = complete(target, x[:25])
    assert target.labels(x).tolist() == y.tolist(), found.sentence
    assert target.head.kind == declared.head.kind
    right = {c.name: c.right / c.of for c in found.candidates if c.status == "taken"}
    assert list(right.values()) == [1.0]


@pytest.mark.parametrize("end", [(), ("Softmax",), ("Sigmoid",)])
def test_two_numbers_are_searched_too(tmp_path, end):
    model = one_number(tmp_path / "m.onnx", *end, numbers=2, middle=-0.18)
    found = search(opened(model), grey_data(tmp_path / "d.npz"))
    assert found.taken == "[-1, 1], RGB"


def test_the_search_uses_labels_beyond_the_drawn_samples_and_says_so(tmp_path):
    model = write_model(tmp_path / "m.onnx")
    data = write_data(model, 300, **IMAGENET)
    profile = make_profile(tmp_path / "p.yaml", "\n  - {id: fgsm}\n", eps=0.001)
    profile.write_text(profile.read_text() + "data: {samples: 6}\n")
    request = make_request(model, data, profile, input_values={})
    loaded = loading.load(request)
    assert len(loaded.drawn) == 6
    assert loaded.opened.spec.mean == (0.485, 0.456, 0.406)
    search = loaded.opened.facts["input search"]
    assert search["taken"] == TORCH
    assert (search["samples"], search["of"]) == (50, 300)
    assert "with 50 labels (of 300 samples" in search["sentence"]


def test_copies_of_a_sample_are_no_further_evidence(tmp_path):
    model = write_model(tmp_path / "m.onnx")
    path = write_data(model, 5, **IMAGENET)
    with np.load(path) as archive:
        x, y = archive["x"], archive["y"]
    np.savez(path, x=np.repeat(x, 20, 0), y=np.repeat(y, 20))
    found = search(opened(model), path)
    assert found.samples == 5
    assert found.taken is None


def test_rare_classes_take_their_turn(tmp_path):
    """Of 300 labels, 12 are of class 0: what always answers class 1 is right on 96 % and wins nothing."""
    y = np.ones(300, np.int64)
    y[::25] = 0
    rng = np.random.default_rng(0)
    levels = np.where(y == 1, 150, 60)[:, None, None, None] + rng.integers(-9, 10, (300, 3, 6, 6))
    path = grey_data(tmp_path / "d.npz", x=levels.astype(np.uint8), y=y)
    model = one_number(tmp_path / "m.onnx", "Sigmoid", middle=-0.18)
    found = search(opened(model), path)
    assert found.taken == "[-1, 1], RGB", found.sentence


def test_classes_in_another_order_make_no_other_meaning_right(tmp_path):
    """Read as it should be, the model is wrong on every sample, since its classes are exchanged."""
    model = one_number(tmp_path / "m.onnx", "Sigmoid", gain=-40)
    found = search(opened(model), grey_data(tmp_path / "d.npz"))
    assert found.taken is None
    assert "the model's answers follow the labels in another order of the classes" in found.sentence
    assert "[0, 1], RGB" in found.sentence


def test_labels_of_one_class_tell_nothing(tmp_path):
    model = one_number(tmp_path / "m.onnx", "Sigmoid")
    with np.load(grey_data(tmp_path / "d.npz")) as archive:
        bright = archive["x"][archive["y"] == 1]
    found = search(opened(model), grey_data(tmp_path / "d.npz", x=bright, y=np.ones(len(bright), np.int64)))
    assert found.taken is None
    assert "all labels are of one class" in found.sentence
    assert "30 of 30" not in found.sentence


def test_equals_are_told_and_none_of_them_is_the_next_best(tmp_path):
    model = one_number(tmp_path / "m.onnx", "Sigmoid")
    found = search(opened(model), grey_data(tmp_path / "d.npz", 200))
    equals = [c.name for c in found.candidates if c.status == "left"]
    assert "[0, 1], BGR" in equals, "grey images have no order of channels"
    for name in equals:
        assert name in found.sentence.partition("; as good: ")[2].partition("; next best")[0]
        assert name not in found.sentence.partition("next best")[2]
    assert "labels do not tell which of the equals is meant" in found.sentence
