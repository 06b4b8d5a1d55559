"""Linear models, support vector machines, scalers and encoders of ai.onnx.ml against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ml_graphs import ML, TYPES, assert_as_runtime, classifier, ml_model
from onnx import TensorProto, helper
from onnx_graphs import make_model, runtime

from robaudit.errors import UnsupportedOperatorError
from robaudit.target.onnx import import_onnx

FLOAT = {"y": TensorProto.FLOAT}
TRANSFORMS = ["NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO"]
NUMBERS = [np.float32, np.float64, np.int64, np.int32]
KERNELS = ["LINEAR", "POLY", "RBF", "SIGMOID"]


def numbers(rng: np.random.Generator, *shape: int, dtype: type = np.float32) -> np.ndarray:
    return (rng.normal(size=shape) * 2).astype(dtype)


def labels(count: int, text: bool) -> dict[str, Any]:
    return {"classlabels_strings": list("wxyz"[:count])} if text else {"classlabels_ints": [7, 3, 9, 1][:count]}


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    classes=st.integers(2, 4),
    rows=st.integers(1, 4),
    transform=st.sampled_from(TRANSFORMS),
    dtype=st.sampled_from(NUMBERS),
    text=st.booleans(),
)
def test_linear_classifier(seed: int, classes: int, rows: int, transform: str, dtype: type, text: bool) -> None:
    rng = np.random.default_rng(seed)
    rows = 1 if classes == 2 and rows == 1 else classes
    model = classifier(
        "LinearClassifier",
        3,
        dtype=TYPES[np.dtype(dtype)],
        coefficients=rng.normal(size=rows * 3).astype(np.float32).tolist(),
        intercepts=rng.normal(size=rows).astype(np.float32).tolist(),
        post_transform=transform,
        multi_class=int(seed % 2),
        **labels(classes, text),
    )
    assert_as_runtime(model, numbers(rng, 20, 3, dtype=dtype))


@pytest.mark.parametrize("transform", [*TRANSFORMS, "PROBIT"])
@pytest.mark.parametrize("targets", [1, 3])
@pytest.mark.parametrize("biased", [True, False])
def test_linear_regressor(transform: str, targets: int, biased: bool) -> None:
    rng = np.random.default_rng(0)
    low = 0.05 if transform == "PROBIT" else -1.0
    bias = {"intercepts": rng.uniform(low, 0.2, targets).tolist()} if biased else {}
    model = ml_model(
        "LinearRegressor",
        FLOAT,
        3,
        targets=targets,
        coefficients=rng.uniform(low, 0.25, targets * 3).tolist(),
        post_transform=transform,
        **bias,
    )
    # A probability where the inverse of the normal distribution is taken.
    assert_as_runtime(model, rng.random((20, 3)).astype(np.float32), atol=2e-4 if transform == "PROBIT" else 1e-6)


# The same examples every time: where an iteration stops exactly at its bound, one rounding decides on another step.
@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    classes=st.integers(2, 4),
    kernel=st.sampled_from(KERNELS),
    degree=st.sampled_from([2.0, 3.0, 4.0]),
    transform=st.sampled_from(TRANSFORMS),
    dtype=st.sampled_from(NUMBERS),
    mode=st.sampled_from(["linear", "votes", "probabilities"]),
    text=st.booleans(),
)
def test_svm_classifier(
    seed: int, classes: int, kernel: str, degree: float, transform: str, dtype: type, mode: str, text: bool
) -> None:
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 5, classes)
    pairs = classes * (classes - 1) // 2
    attributes: dict[str, Any] = {"coefficients": rng.normal(size=classes * 3).tolist(), "rho": [float(rng.normal())]}
    if mode != "linear":
        attributes = {
            "coefficients": rng.normal(size=(classes - 1) * counts.sum()).tolist(),
            "vectors_per_class": counts.tolist(),
            "support_vectors": rng.normal(size=counts.sum() * 3).tolist(),
            "rho": rng.normal(size=pairs).tolist(),
        }
    if mode == "probabilities":
        attributes["prob_a"] = (-rng.uniform(0.5, 2, pairs)).tolist()
        attributes["prob_b"] = rng.normal(size=pairs).tolist()
    if rng.random() < 0.3:
        attributes["coefficients"] = np.abs(attributes["coefficients"]).tolist()
    model = classifier(
        "SVMClassifier",
        3,
        dtype=TYPES[np.dtype(dtype)],
        kernel_type=kernel,
        kernel_params=[0.2, 0.3, degree],
        post_transform=transform,
        **attributes,
        **labels(classes, text),
    )
    assert_as_runtime(model, numbers(rng, 20, 3, dtype=dtype), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("classes", [2, 3, 6, 10])
def test_coupled_probabilities_take_the_runtimes_steps(classes: int) -> None:
    """Decided pairs, near 0 and 1 too, need many rounds and stop at different ones."""
    rng = np.random.default_rng(classes)
    pairs = classes * (classes - 1) // 2
    model = classifier(
        "SVMClassifier",
        classes,
        kernel_type="LINEAR",
        kernel_params=[1.0, 0.0, 3.0],
        coefficients=rng.normal(size=(classes - 1) * classes).tolist(),
        vectors_per_class=[1] * classes,
        support_vectors=np.eye(classes).reshape(-1).tolist(),
        rho=rng.normal(size=pairs).tolist(),
        prob_a=[-1.0] * pairs,
        prob_b=[0.0] * pairs,
        classlabels_ints=list(range(classes)),
    )
    scale = np.repeat([0.1, 1, 4, 20], 50)[:, None]
    x = (rng.normal(size=(200, classes)) * scale).astype(np.float32)
    assert_as_runtime(model, x, rtol=2e-4, atol=2e-6)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("vectors", [0, 5])
@pytest.mark.parametrize("one_class", [0, 1])
def test_svm_regressor(kernel: str, vectors: int, one_class: int) -> None:
    rng = np.random.default_rng(1)
    model = ml_model(
        "SVMRegressor",
        FLOAT,
        3,
        kernel_type=kernel,
        kernel_params=[0.2, 0.3, 3.0],
        coefficients=rng.normal(size=vectors or 3).tolist(),
        support_vectors=rng.normal(size=vectors * 3).tolist() or [0.0],
        n_supports=vectors,
        rho=[0.3],
        one_class=one_class,
    )
    assert_as_runtime(model, numbers(rng, 20, 3))


@pytest.mark.parametrize("dtype", NUMBERS)
@pytest.mark.parametrize("width", [1, 3])
def test_scaler(dtype: type, width: int) -> None:
    rng = np.random.default_rng(2)
    offset, scale = rng.normal(size=(2, width)).tolist()
    model = ml_model("Scaler", FLOAT, 3, dtype=TYPES[np.dtype(dtype)], offset=offset, scale=scale)
    assert_as_runtime(model, numbers(rng, 20, 3, dtype=dtype))


@pytest.mark.parametrize("dtype", NUMBERS)
@pytest.mark.parametrize("norm", ["MAX", "L1", "L2"])
def test_normalizer(dtype: type, norm: str) -> None:
    x = numbers(np.random.default_rng(3), 20, 3, dtype=dtype)
    x[0] = 0
    assert_as_runtime(ml_model("Normalizer", FLOAT, 3, dtype=TYPES[np.dtype(dtype)], norm=norm), x)


@pytest.mark.parametrize("imputed", [[5.0], [5.0, 6.0, 7.0]])
@pytest.mark.parametrize("replaced", [float("nan"), 2.0])
def test_imputer(imputed: list[float], replaced: float) -> None:
    x = np.array([[1, 2, np.nan], [np.nan, 0, 2]], dtype=np.float32)
    model = ml_model("Imputer", FLOAT, 3, imputed_value_floats=imputed, replaced_value_float=replaced)
    assert_as_runtime(model, x)


def test_imputer_of_integers() -> None:
    model = ml_model(
        "Imputer",
        {"y": TensorProto.INT64},
        3,
        dtype=TensorProto.INT64,
        imputed_value_int64s=[5, 6, 7],
        replaced_value_int64=-1,
    )
    assert_as_runtime(model, np.array([[1, -1, 2], [-1, 0, -1]]))


@pytest.mark.parametrize("threshold", [{}, {"threshold": 0.3}])
def test_binarizer(threshold: dict[str, float]) -> None:
    x = np.array([[-1, 0, 0.3], [0.30000004, 0.5, 2]], dtype=np.float32)
    assert_as_runtime(ml_model("Binarizer", FLOAT, 3, **threshold), x)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_one_hot_encoder(dtype: type) -> None:
    x = np.array([[3, 1, 8], [-2, 3, 3]], dtype=dtype)
    assert_as_runtime(ml_model("OneHotEncoder", FLOAT, 3, dtype=TYPES[np.dtype(dtype)], cats_int64s=[1, -2, 3]), x)


LABEL_ENCODERS = {
    "int to float": (2, np.int64, TensorProto.FLOAT, {"keys_int64s": [3, 1, 7], "values_floats": [0.5, -1.0, 2.0]}),
    "float to int": (2, np.float32, TensorProto.INT64, {"keys_floats": [3.0, 1.0, 0.1], "values_int64s": [5, 6, 7]}),
    "default": (
        2,
        np.int64,
        TensorProto.FLOAT,
        {"keys_int64s": [3, 1, 3], "values_floats": [0.5, -1.0, 9.0], "default_float": 4.0},
    ),
    "int to int": (4, np.int64, TensorProto.INT64, {"keys_int64s": [3, 1, 7], "values_int64s": [5, 6, 7]}),
    "nan": (4, np.float32, TensorProto.FLOAT, {"keys_floats": [3.0, np.nan], "values_floats": [1.0, 2.0]}),
    "nan is no key": (4, np.float32, TensorProto.FLOAT, {"keys_floats": [3.0, 7.0], "values_floats": [1.0, 2.0]}),
    "tensors": (
        4,
        np.float64,
        TensorProto.DOUBLE,
        {
            "keys_tensor": onnx.numpy_helper.from_array(np.array([0.1, 3.0])),
            "values_tensor": onnx.numpy_helper.from_array(np.array([1.5, 2.5])),
            "default_tensor": onnx.numpy_helper.from_array(np.array([-9.0])),
        },
    ),
}


@pytest.mark.parametrize("name", LABEL_ENCODERS)
def test_label_encoder(name: str) -> None:
    version, dtype, output, attributes = LABEL_ENCODERS[name]
    x = np.array([[3, 1, 8], [7, -2, 3]], dtype=dtype)
    if dtype is not np.int64:
        x[0, 2], x[1, 1] = np.nan, 0.1
    model = ml_model("LabelEncoder", {"y": output}, 3, version=version, dtype=TYPES[np.dtype(dtype)], **attributes)
    assert_as_runtime(model, x)


@pytest.mark.parametrize("index", [[2], [1, 0, 1]])
def test_array_feature_extractor(index: list[int]) -> None:
    node = helper.make_node("ArrayFeatureExtractor", ["x", "i"], ["y"], domain=ML)
    model = make_model([node], ("N", 3), {"i": np.array(index)}, domains={ML: 1})
    assert_as_runtime(model, numbers(np.random.default_rng(4), 5, 3))


def test_feature_vectorizer_cuts_and_fills() -> None:
    node = helper.make_node("FeatureVectorizer", ["x", "x", "x"], ["y"], domain=ML, inputdimensions=[3, 2, 5])
    assert_as_runtime(make_model([node], ("N", 3), domains={ML: 1}), numbers(np.random.default_rng(5), 5, 3))


def test_zip_map_gives_the_maps_numbers() -> None:
    node = helper.make_node("ZipMap", ["x"], ["y"], domain=ML, classlabels_strings=["b", "a", "c"])
    kind = helper.make_map_type_proto(TensorProto.STRING, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
    graph = helper.make_graph(
        [node],
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3])],
        [helper.make_value_info("y", helper.make_sequence_type_proto(kind))],
    )
    imports = [helper.make_opsetid("", 17), helper.make_opsetid(ML, 1)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=8)
    x = numbers(np.random.default_rng(6), 4, 3)
    maps = runtime(model).run(None, {"x": x})[0]
    found = import_onnx(model, "y")(torch.from_numpy(x))
    np.testing.assert_array_equal(found.numpy(), [[row[name] for name in ("b", "a", "c")] for row in maps])


REFUSED = {
    "CategoryMapper": {"cats_int64s": [1], "cats_strings": ["a"]},
    "OneHotEncoder": {"cats_strings": ["a"]},
    "LabelEncoder": {"keys_int64s": [1], "values_strings": ["a"]},
    "SVMRegressor": {"kernel_type": "COSINE", "n_supports": 1, "support_vectors": [1.0, 2.0, 3.0]},
    "Normalizer": {"norm": "L3"},
    "TreeEnsembleRegressor": {"nodes_modes": ["BRANCH_PERHAPS"], "nodes_treeids": [0], "nodes_nodeids": [0]},
}


@pytest.mark.parametrize("op", REFUSED)
def test_what_cannot_be_computed_is_refused_by_name(op: str) -> None:
    attributes = {"kernel_params": [1.0, 0.0, 3.0], "rho": [0.0], "coefficients": [1.0]} if "SVM" in op else {}
    with pytest.raises(UnsupportedOperatorError, match=op):
        import_onnx(ml_model(op, FLOAT, 3, **attributes, **REFUSED[op]))(torch.ones(2, 3))


def test_a_label_ends_the_gradient_and_scores_do_not() -> None:
    model = classifier("LinearClassifier", 3, coefficients=[1.0] * 6, intercepts=[0.0] * 2, classlabels_ints=[0, 1])
    assert import_onnx(model, "y").cuts == []
    assert len(import_onnx(model, "label").cuts) == 1


def test_double_precision_reaches_weights_in_attributes() -> None:
    model = classifier("LinearClassifier", 3, coefficients=[0.1] * 6, intercepts=[0.2] * 2, classlabels_ints=[0, 1])
    y = import_onnx(model, "y").double()(torch.full((1, 3), 1 / 3, dtype=torch.float64))
    assert y.dtype == torch.float64
    assert y[0, 0].item() == pytest.approx(float(np.float32(0.1)) + float(np.float32(0.2)), abs=1e-15)
