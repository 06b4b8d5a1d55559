"""Gradient cases of the domain ai.onnx.ml."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from gradient_case import GradientCase
from ml_graphs import ML, classifier, ml_model
from onnx import TensorProto, helper
from onnx_graphs import make_model

_RNG = np.random.default_rng(0)
_FLOAT = {"y": TensorProto.FLOAT}


def _x(*shape: int) -> np.ndarray:
    """Numbers with both signs, none near 0."""
    return _RNG.uniform(0.3, 1.5, shape) * _RNG.choice([-1, 1], shape)


def _floats(count: int) -> list[float]:
    return _RNG.normal(size=count).tolist()


def _scores(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model without its label output."""
    del model.graph.output[0]
    return model


def _linear(rows: int, transform: str) -> GradientCase:
    model = classifier(
        "LinearClassifier",
        3,
        coefficients=_floats(rows * 3),
        intercepts=_floats(rows),
        classlabels_ints=list(range(max(rows, 2))),
        post_transform=transform,
    )
    return GradientCase("LinearClassifier", _scores(model), _x(2, 3), ML)


def _regressor(transform: str) -> GradientCase:
    # Scores between 0.6 and 0.9: PROBIT wants probabilities, and bends at a half.
    model = ml_model(
        "LinearRegressor",
        _FLOAT,
        3,
        targets=2,
        coefficients=[0.05, -0.04, 0.03, 0.02, 0.05, -0.03],
        intercepts=[0.7, 0.75],
        post_transform=transform,
    )
    return GradientCase("LinearRegressor", model, _x(2, 3), ML)


def _svm(kernel: str, counts: list[int], probabilities: bool, transform: str = "NONE") -> GradientCase:
    classes, vectors = len(counts), sum(counts)
    pairs = classes * (classes - 1) // 2
    platt: dict[str, Any] = {"prob_a": [-1.0, -0.7, -1.3][:pairs], "prob_b": [0.1, -0.2, 0.3][:pairs]}
    model = classifier(
        "SVMClassifier",
        3,
        kernel_type=kernel,
        kernel_params=[0.3, 0.4, 3.0],
        vectors_per_class=counts,
        support_vectors=_floats(vectors * 3),
        coefficients=_floats((classes - 1) * vectors),
        rho=_floats(pairs),
        classlabels_ints=list(range(classes)),
        post_transform=transform,
        **(platt if probabilities else {}),
    )
    return GradientCase("SVMClassifier", _scores(model), _x(2, 3), ML)


def _svm_linear() -> GradientCase:
    model = classifier(
        "SVMClassifier",
        3,
        kernel_params=[1.0, 0.0, 3.0],
        coefficients=_floats(9),
        rho=[0.2],
        classlabels_ints=[0, 1, 2],
        post_transform="SOFTMAX",
    )
    return GradientCase("SVMClassifier", _scores(model), _x(2, 3), ML)


def _svm_at_a_support_vector() -> GradientCase:
    """The distance has a kink there, its square does not."""
    x = _x(1, 3)
    model = ml_model(
        "SVMRegressor",
        _FLOAT,
        3,
        kernel_type="RBF",
        kernel_params=[0.3, 0.0, 3.0],
        n_supports=2,
        support_vectors=[*x[0].astype(np.float32).tolist(), *_floats(3)],
        coefficients=[1.0, -2.0],
        rho=[0.1],
    )
    return GradientCase("SVMRegressor", model, x.astype(np.float32).astype(np.float64), ML)


def _extractor() -> GradientCase:
    node = helper.make_node("ArrayFeatureExtractor", ["x", "i"], ["y"], domain=ML)
    model = make_model([node], ("N", 3), {"i": np.array([2, 0, 2])}, domains={ML: 1})
    return GradientCase("ArrayFeatureExtractor", model, _x(2, 3), ML)


def _vectorizer() -> GradientCase:
    node = helper.make_node("FeatureVectorizer", ["x", "x"], ["y"], domain=ML, inputdimensions=[2, 4])
    return GradientCase("FeatureVectorizer", make_model([node], ("N", 3), domains={ML: 1}), _x(2, 3), ML)


def _one(op: str, **attributes: Any) -> GradientCase:
    return GradientCase(op, ml_model(op, _FLOAT, 3, **attributes), _x(2, 3), ML)


CASES = [
    _linear(1, "NONE"),
    _linear(1, "LOGISTIC"),
    *(_linear(3, transform) for transform in ("NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO")),
    *(_regressor(transform) for transform in ("NONE", "PROBIT")),
    *(_svm(kernel, [2, 3, 2], False) for kernel in ("LINEAR", "POLY", "RBF", "SIGMOID")),
    _svm("RBF", [2, 3], False),
    _svm("RBF", [2, 3], False, "LOGISTIC"),
    _svm("RBF", [2, 3], True),
    _svm("RBF", [2, 3, 2], True),
    _svm("POLY", [2, 3, 2], True, "SOFTMAX"),
    _svm_linear(),
    _svm_at_a_support_vector(),
    _one("Scaler", offset=_floats(3), scale=_floats(3)),
    *(_one("Normalizer", norm=norm) for norm in ("MAX", "L1", "L2")),
    _one("Imputer", imputed_value_floats=[5.0], replaced_value_float=float("nan")),
    _one("ZipMap", classlabels_int64s=[0, 1, 2]),
    _extractor(),
    _vectorizer(),
]

NO_GRADIENT = {
    (ML, "TreeEnsemble"): "a tree is constant between its thresholds",
    (ML, "TreeEnsembleClassifier"): "a tree is constant between its thresholds",
    (ML, "TreeEnsembleRegressor"): "a tree is constant between its thresholds",
    (ML, "Binarizer"): "a step",
    (ML, "LabelEncoder"): "codes have no slope",
    (ML, "OneHotEncoder"): "codes have no slope",
    (ML, "CategoryMapper"): "refused: it maps text",
    (ML, "CastMap"): "refused: it reads a map",
    (ML, "DictVectorizer"): "refused: it reads a map",
}
