"""ONNX's own tests of its operators, run on the twin as an audit runs it: the data are traced, not known."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx.backend.test.case.test_case import TestCase as NodeCase
from onnx.backend.test.loader import load_model_tests
from torch import fx
from torch.utils import _pytree as pytree

from robaudit.target.onnx import passes
from robaudit.target.onnx.graph import Graph
from robaudit.target.onnx.reading import read, tensor_of
from robaudit.target.onnx.registry import find
from robaudit.target.onnx.tracing import trace

STRING = onnx.TensorProto.STRING
RANDOM = {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
ENCODED = "decodes an image file; a classifier's input is pixels"
ON_RUNTIME = "ONNX Runtime, which judges, differs from ONNX's reference here, and the twin follows it"
UNSHAPED = "the data decide how many elements the result has"
LEFT_OUT = {"training": 7, "random": 12, "strings": 26}
KNOWN: dict[str, str] = {
    **{
        f"test_image_decoder_decode_{name}": ENCODED
        for name in (
            "bmp_rgb",
            "jpeg2k_rgb",
            "jpeg_bgr",
            "jpeg_grayscale",
            "jpeg_rgb",
            "png_rgb",
            "pnm_rgb",
            "tiff_rgb",
            "webp_rgb",
        )
    },
    "test_resize_downsample_scales_linear_align_corners": ON_RUNTIME,
    "test_resize_downsample_scales_cubic_align_corners": ON_RUNTIME,
    "test_maxunpool_export_with_output_shape": ON_RUNTIME,
    "test_if_seq": UNSHAPED,
    "test_if_opt": UNSHAPED,
    "test_loop11": UNSHAPED,
    "test_loop13_seq": UNSHAPED,
    "test_loop16_seq_none": UNSHAPED,
}


def excluded(model: onnx.ModelProto) -> str | None:
    """Why a test is none of ours: training, randomness, strings."""
    nodes = list(model.graph.node)
    if any(node.domain == "ai.onnx.preview.training" for node in nodes):
        return "training"
    if any(node.op_type in RANDOM or (node.op_type == "Dropout" and len(node.input) > 2) for node in nodes):
        return "random"
    entries = [*model.graph.input, *model.graph.output]
    if any(STRING in element_types(entry.type) for entry in entries):
        return "strings"
    return None


def element_types(kind: onnx.TypeProto) -> Iterator[int]:
    if kind.HasField("tensor_type"):
        yield kind.tensor_type.elem_type
    elif kind.HasField("sequence_type"):
        yield from element_types(kind.sequence_type.elem_type)
    elif kind.HasField("optional_type"):
        yield from element_types(kind.optional_type.elem_type)


def steering(graph: Graph) -> set[str]:
    """Names whose values some operator needs on the host, by way of anything but their shapes."""
    names: set[str] = set()
    for node in reversed(graph.nodes):
        handler = find(node.domain, node.op)
        if handler is None or node.op in ("Shape", "Size"):
            continue
        if names.intersection(node.outputs):
            names.update(node.inputs)
        names.update(node.inputs[i] for i in handler.host if i < len(node.inputs))
    return names


def value_of(given: Any) -> Any:
    if isinstance(given, list):
        return [value_of(element) for element in given]
    if isinstance(given, onnx.TensorProto):
        given = onnx.numpy_helper.to_array(given)
    return None if given is None else tensor_of(np.asarray(given))


def run(case: NodeCase, inputs: list[Any]) -> Any:
    graph = passes.prepare(read(case.model))
    known = steering(graph)
    values = {name: value_of(value) for name, value in zip(graph.inputs, inputs, strict=True)}
    shapes = {
        name: value if name in known else pytree.tree_map_only(torch.Tensor, lambda v: v.to("meta"), value)
        for name, value in values.items()
    }
    made = trace(graph, shapes, graph.outputs, {})
    program = fx.GraphModule({**made.constants, **made.modules}, made.graph)
    given = [value for name, value in values.items() if name not in known]
    with torch.no_grad():
        return program(*(leaf for leaf in pytree.tree_leaves(given) if leaf is not None))


def assert_same(got: Any, expected: Any, rtol: float, atol: float) -> None:
    if isinstance(expected, list):
        assert len(got) == len(expected)
        for mine, theirs in zip(got, expected, strict=True):
            assert_same(mine, theirs, rtol, atol)
        return
    wanted = value_of(expected)
    if wanted is None:
        assert got is None
        return
    assert got.shape == wanted.shape
    assert got.dtype == wanted.dtype
    if not wanted.is_floating_point():
        assert torch.equal(got, wanted)
        return
    # Two units in the last place of a half type, as ONNX's own runner allows bfloat16.
    rtol = {torch.bfloat16: 2**-6, torch.float16: 2**-9}.get(wanted.dtype, rtol)
    exact = wanted.double().numpy()
    largest = float(np.abs(exact[np.isfinite(exact)]).max(initial=0.0))
    np.testing.assert_allclose(got.double().numpy(), exact, rtol=rtol, atol=max(atol, 1e-6 * largest))


def stored(file: Path, kind: onnx.TypeProto) -> Any:
    """The value in a file of the suite: a tensor or a sequence."""
    if kind.HasField("sequence_type"):
        sequence = onnx.SequenceProto()
        sequence.ParseFromString(file.read_bytes())
        return onnx.numpy_helper.to_list(sequence)
    tensor = onnx.TensorProto()
    tensor.ParseFromString(file.read_bytes())
    return onnx.numpy_helper.to_array(tensor)


def kept(kind: str) -> list[NodeCase]:
    """Tests that ONNX keeps as files: small models that old exporters wrote, most of them in opset 6."""
    found = []
    for case in load_model_tests(kind=kind):
        folder = Path(case.model_dir or "")
        model = onnx.load(folder / "model.onnx")
        if excluded(model) is not None:
            continue
        constants = {initialiser.name for initialiser in model.graph.initializer}
        inputs = [entry for entry in model.graph.input if entry.name not in constants]
        sets = [
            tuple(
                [stored(data / f"{name}_{i}.pb", entry.type) for i, entry in enumerate(entries)]
                for name, entries in (("input", inputs), ("output", model.graph.output))
            )
            for data in sorted(folder.glob("test_data_set_*"))
        ]
        found.append(replace(case, model=model, data_sets=sets))
    return found


@cache
def cases() -> list[NodeCase]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the suite computes its answers, infinities included, when it is loaded
        return [case for case in load_model_tests(kind="node") if case.model is not None]


def failure(case: NodeCase) -> str | None:
    try:
        for inputs, outputs in case.data_sets or []:
            for got, expected in zip(run(case, inputs), outputs, strict=True):
                assert_same(got, expected, case.rtol, case.atol)
    except Exception as error:  # whatever goes wrong is what the test tells
        return f"{type(error).__name__}: {error}".split("\n")[0]
    return None


@pytest.mark.slow
def test_the_twin_passes_the_tests_of_onnx() -> None:
    ours = [case for case in cases() if excluded(case.model) is None]
    failures = {case.name: told for case in ours if (told := failure(case)) is not None}
    new = {name: told for name, told in failures.items() if name not in KNOWN}
    assert new == {}, "fails, and is not known to"
    assert sorted(KNOWN.keys() - failures.keys()) == [], "passes (or is gone), and is said to fail"
    assert len(ours) > 1800
    assert len(failures) <= 0.03 * len(ours)


@pytest.mark.parametrize(("kind", "count"), [("pytorch-converted", 82), ("pytorch-operator", 35), ("simple", 15)])
def test_the_twin_passes_the_older_models_of_onnx(kind: str, count: int) -> None:
    ours = kept(kind)
    assert len(ours) == count
    assert all(case.data_sets for case in ours)
    assert {case.name: told for case in ours if (told := failure(case)) is not None} == {}


def test_few_tests_are_left_out() -> None:
    reasons = [excluded(case.model) for case in cases()]
    assert {reason: reasons.count(reason) for reason in {*reasons} - {None}} == LEFT_OUT
