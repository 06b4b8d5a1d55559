"""Files that are no classifier though their outputs look like one, and inputs that cannot be attacked: one sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from model_files import FLOAT, script, weight, write_onnx
from onnx import TensorProto, helper
from torch import Tensor, nn

from robaudit.errors import UsageError
from robaudit.target.head.rule import Rule
from robaudit.target.load import open_target
from robaudit.target.reading.interface import Interface

NODE = helper.make_node
ML = {"domain": "ai.onnx.ml"}
INT64 = TensorProto.INT64
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def features(path: Path, name: str, *, unit: bool = False) -> Path:
    nodes = [NODE("MatMul", ["x", "w"], ["z" if unit else name])]
    if unit:
        nodes.append(NODE("LpNormalization", ["z"], [name], axis=1, p=2))
    return write_onnx(path, nodes, ("N", 8), {"w": weight(16, 8)}, outputs={name: (("N", 16), FLOAT)})


@pytest.mark.parametrize(
    "name", ["embedding", "image_embeds", "features", "pooler_output", "encoder/feature", "latent"]
)
def test_features_by_their_name_are_no_scores(tmp_path, name):
    path = features(tmp_path / "m.onnx", name)
    with pytest.raises(UsageError, match="holds features by its name, and no class scores; export the model with its"):
        open_target(path)
    assert open_target(path, interface=Interface(name)).num_classes == 16


@pytest.mark.parametrize("name", ["StatefulPartitionedCall:0", "feature_logits", "embedding_classifier", "output"])
def test_other_names_are_scores(tmp_path, name):
    assert open_target(features(tmp_path / "m.onnx", name)).num_classes == 16


def test_vectors_of_length_one_are_no_scores(tmp_path):
    path = features(tmp_path / "m.onnx", "y", unit=True)
    with pytest.raises(UsageError, match="holds vectors of length 1, as of embeddings"):
        open_target(path)
    assert open_target(path, interface=Interface("y")).num_classes == 16


def test_a_module_of_features_is_refused(tmp_path):
    class Embed(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.normalize(x @ torch.from_numpy(weight(16, 8)), dim=1)

    with pytest.raises(UsageError, match="vectors of length 1"):
        open_target(script(tmp_path / "m.pt", Embed(), torch.rand(2, 8)), sample_shape=(8,))


def test_a_regression_is_no_classifier(tmp_path):
    node = NODE("LinearRegressor", ["x"], ["variable"], **ML, coefficients=[1.0] * 4, intercepts=[0.5], targets=1)
    outputs = {"variable": (("N", 1), FLOAT)}
    path = write_onnx(tmp_path / "m.onnx", [node], ("N", 4), outputs=outputs, domains={"ai.onnx.ml": 3})
    with pytest.raises(UsageError, match="a LinearRegressor makes its output variable, an amount and not a class"):
        open_target(path)
    target = open_target(path, interface=Interface(rule=Rule("above", 2.5)))
    u = torch.rand(50, 4, generator=torch.Generator().manual_seed(0))
    assert target.labels(u).tolist() == (u.sum(1) + 0.5 > 2.5).long().tolist()


def test_a_table_whose_columns_are_inputs_each(tmp_path):
    nodes = [NODE("Concat", ["x", "bmi"], ["f"], axis=1), NODE("MatMul", ["f", "w"], ["y"])]
    extra = {"bmi": (("N", 1), FLOAT)}
    outputs = {"y": (("N", 3), FLOAT)}
    path = write_onnx(tmp_path / "m.onnx", nodes, ("N", 1), {"w": weight(3, 2)}, outputs=outputs, extra_inputs=extra)
    with pytest.raises(
        UsageError, match=r"takes the 2 columns of a table as an input each \(x .*, bmi .*\); export it"
    ):
        open_target(path)
    assert open_target(path, interface=Interface(fixed={"bmi": "0.5"})).num_classes == 3


def test_tokens_with_a_mask_are_tokens(tmp_path):
    nodes = [
        NODE("Gather", ["table", "x"], ["e"]),
        NODE("Cast", ["mask"], ["m"], to=FLOAT),
        NODE("Unsqueeze", ["m", "last"], ["mm"]),
        NODE("Mul", ["e", "mm"], ["em"]),
        NODE("ReduceMean", ["em"], ["y"], axes=[1], keepdims=0),
    ]
    constants = {"table": weight(3, 50), "last": np.int64([2])}
    extra = {"mask": (("N", "T"), INT64)}
    outputs = {"y": (("N", 3), FLOAT)}
    path = write_onnx(
        tmp_path / "m.onnx", nodes, ("N", "T"), constants, outputs=outputs, dtype=INT64, extra_inputs=extra
    )
    with pytest.raises(UsageError, match=r"takes tokens \(x int64, mask int64\); perturbations within an eps-ball"):
        open_target(path)


@pytest.mark.parametrize("shape", [(3, 16, 16), (16, 16, 3)])
def test_one_image_without_a_batch(tmp_path, shape):
    nodes = [NODE("Flatten", ["x"], ["f"], axis=0), NODE("MatMul", ["f", "w"], ["y"])]
    path = write_onnx(tmp_path / "m.onnx", nodes, shape, {"w": weight(3, 768)}, outputs={"y": ((1, 3), FLOAT)})
    with pytest.raises(UsageError, match="is one image without a batch; export the model with a batch first"):
        open_target(path)


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax"])
def test_a_softmax_over_one_number_says_nothing(tmp_path, op):
    nodes = [NODE("MatMul", ["x", "w"], ["z"]), NODE(op, ["z"], ["y"], name="last", axis=1)]
    path = write_onnx(
        tmp_path / "m.onnx", nodes, ("N", 8), {"w": weight(2, 8)[:, :1]}, outputs={"y": (("N", 1), FLOAT)}
    )
    with pytest.raises(
        UsageError, match=r"its output y is the share of one number in itself \(.*\), the same for every"
    ):
        open_target(path)


def test_a_module_with_a_softmax_over_one_number_says_nothing(tmp_path):
    module = nn.Sequential(nn.Linear(8, 1), nn.Softmax(1))
    with pytest.raises(UsageError, match="the share of one number in itself"):
        open_target(script(tmp_path / "m.pt", module, torch.rand(2, 8)), sample_shape=(8,))
