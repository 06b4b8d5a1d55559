"""Inputs that ONNX Runtime reads where torch has them. On a CPU too, where nothing but a test asks for it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from model_files import FLOAT, linear_onnx, write_onnx
from onnx import TensorProto, helper
from torch import Tensor

from robaudit.errors import RobauditError
from robaudit.target.files.onnx import bound
from robaudit.target.files.onnx import file as file_module
from robaudit.target.files.onnx.file import OnnxFile
from robaudit.target.load import open_target
from robaudit.target.reading.interface import Interface


def both(path: Path, fixed: dict[str, str] | None = None) -> tuple[OnnxFile, OnnxFile]:
    """The file as it is asked on a CPU, and asked as on a GPU."""
    found = []
    for binding in (False, True):
        file = open_target(path, interface=Interface(fixed=fixed or {}), device="cpu").file
        assert isinstance(file, OnnxFile)
        assert not file.binding
        file.binding = binding
        found.append(file)
    return found[0], found[1]


def points(shape: tuple[int, ...] = (3, 4, 4)) -> Tensor:
    return torch.rand(7, *shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("dtype", [FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16])
@pytest.mark.parametrize("width", [None, 1, 3])
def test_the_answers_are_the_same(tmp_path: Path, dtype: int, width: int | None) -> None:
    plain, binding = both(linear_onnx(tmp_path / "m.onnx", end=["Softmax"], dtype=dtype))
    x = points()
    found = binding.run(x, width=width)
    assert torch.equal(found, plain.run(x, width=width))
    assert found.dtype == (torch.float64 if dtype == TensorProto.DOUBLE else torch.float32)
    turned = x.permute(0, 1, 3, 2)  # not contiguous
    assert torch.equal(binding.run(turned), plain.run(turned))
    assert not torch.equal(binding.run(turned), found)
    assert torch.equal(binding.run(x[:2]), plain.run(x[:2]))  # each call binds anew


def test_no_image_goes_through_numpy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, binding = both(linear_onnx(tmp_path / "m.onnx"))
    asked = []

    def ask_bound(session: object, outputs: list[str], name: str, values: Tensor, fixed: object) -> object:
        asked.append(values.data_ptr())
        return bound.ask_bound(session, outputs, name, values, fixed)  # type: ignore[arg-type]

    monkeypatch.setattr(file_module, "ask_bound", ask_bound)
    monkeypatch.setattr(file_module, "file_values", None)
    x = points()
    binding.run(x)
    binding.run(x, width=1)
    assert asked == [x.data_ptr(), *(row.data_ptr() for row in x)]


def test_inputs_that_keep_their_values_are_given_too(tmp_path: Path) -> None:
    nodes = [helper.make_node("Flatten", ["x"], ["flat"]), helper.make_node("Mul", ["flat", "t"], ["y"])]
    outputs = {"y": (("N", 4), FLOAT)}
    path = write_onnx(
        tmp_path / "m.onnx", nodes, ("N", 1, 2, 2), outputs=outputs, extra_inputs={"t": (("N", 1), FLOAT)}
    )
    plain, binding = both(path, {"t": "2.5"})
    x = points((1, 2, 2))
    assert torch.equal(binding.run(x), plain.run(x))
    assert torch.equal(binding.run(x), 2.5 * x.flatten(1))


def test_whole_numbers_are_rounded_as_ever(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["c"], to=FLOAT),
        helper.make_node("Flatten", ["c"], ["y"]),
    ]
    path = write_onnx(
        tmp_path / "m.onnx", nodes, ("N", 1, 2, 2), outputs={"y": (("N", 4), FLOAT)}, dtype=TensorProto.UINT8
    )
    plain, binding = both(path)
    x = points((1, 2, 2)) * 300 - 20
    assert torch.equal(binding.run(x), plain.run(x))


def test_an_input_that_the_runtime_refuses_is_told(tmp_path: Path) -> None:
    _, binding = both(linear_onnx(tmp_path / "m.onnx"))
    with pytest.raises(RobauditError, match="ONNX Runtime refuses the input"):
        binding.run(points((3, 4, 5)))


def test_it_is_for_cuda_alone(tmp_path: Path) -> None:
    plain, _ = both(linear_onnx(tmp_path / "m.onnx"))
    assert not bound.binds(plain.session, torch.device("cuda", 0))  # the runtime has no GPU here: it would read there
    assert not bound.binds(plain.session, torch.device("cpu"))
