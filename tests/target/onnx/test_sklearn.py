"""scikit-learn's classifiers, converted by skl2onnx: the twin against ONNX Runtime on every test row."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
import skl2onnx
import torch
from onnx_graphs import runtime
from sklearn.base import ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_breast_cancer, load_digits, load_iris
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    VotingClassifier,
)
from sklearn.linear_model import LogisticRegression, RidgeClassifier, SGDClassifier
from sklearn.model_selection import train_test_split
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import BernoulliNB, GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    Binarizer,
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    PolynomialFeatures,
    PowerTransformer,
    RobustScaler,
    StandardScaler,
)
from sklearn.svm import SVC, LinearSVC, NuSVC
from sklearn.tree import DecisionTreeClassifier

from robaudit.target.onnx import OnnxModule, coverage, import_onnx

pytestmark = pytest.mark.filterwarnings("ignore")

LOADERS = {"digits": load_digits, "iris": load_iris, "cancer": load_breast_cancer}
TRAIN = 300


@functools.cache
def data(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Training rows, their labels, test rows; float32 numbers."""
    x, y = LOADERS[name](return_X_y=True)
    train, test, labels, _ = train_test_split(x.astype(np.float32), y, random_state=0, test_size=0.3)
    return train[:TRAIN], labels[:TRAIN], test


def logistic() -> LogisticRegression:
    return LogisticRegression(max_iter=200)


def scaled(*steps: Any) -> Any:
    return make_pipeline(StandardScaler(), *steps)


WITH_GRADIENT: dict[str, Callable[[], ClassifierMixin]] = {
    "LogisticRegression": lambda: scaled(logistic()),
    "OneVsRest": lambda: scaled(OneVsRestClassifier(logistic())),
    "RidgeClassifier": RidgeClassifier,
    "LinearSVC": LinearSVC,
    "SVC rbf": lambda: scaled(SVC()),
    "SVC rbf, probabilities": lambda: scaled(SVC(probability=True, random_state=0)),
    "SVC poly": lambda: scaled(SVC(kernel="poly")),
    "SVC poly, probabilities": lambda: scaled(SVC(kernel="poly", probability=True, random_state=0)),
    "SVC linear": lambda: scaled(SVC(kernel="linear")),
    "SVC sigmoid, probabilities": lambda: scaled(SVC(kernel="sigmoid", probability=True, random_state=0)),
    "NuSVC": lambda: scaled(NuSVC(nu=0.1)),
    "MLP": lambda: make_pipeline(MinMaxScaler(), MLPClassifier((16,), max_iter=30, random_state=0)),
    "MLP tanh": lambda: scaled(MLPClassifier((8, 8), activation="tanh", max_iter=30, random_state=0)),
    "SGD hinge": lambda: scaled(SGDClassifier(random_state=0)),
    "SGD logistic": lambda: scaled(SGDClassifier(loss="log_loss", alpha=0.1, random_state=0)),
    "GaussianNB": lambda: GaussianNB(var_smoothing=1e-1),
    "LDA": lambda: LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.5),
    "QDA": lambda: QuadraticDiscriminantAnalysis(solver="eigen", shrinkage=0.9),
    "Bagging": lambda: scaled(BaggingClassifier(logistic(), 3, random_state=0)),
    "Calibrated": lambda: scaled(CalibratedClassifierCV(logistic(), cv=2)),
    "Voting": lambda: scaled(
        VotingClassifier(
            [("a", logistic()), ("b", LinearDiscriminantAnalysis())], voting="soft", flatten_transform=False
        )
    ),
    "Normalizer": lambda: make_pipeline(Normalizer(), logistic()),
    "Normalizer L1": lambda: make_pipeline(MinMaxScaler(), Normalizer("l1"), logistic()),
    "PCA": lambda: make_pipeline(PCA(3, whiten=True), SVC(probability=True, random_state=0)),
    "PolynomialFeatures": lambda: scaled(PCA(3), PolynomialFeatures(2), logistic()),
    "RobustScaler": lambda: make_pipeline(MaxAbsScaler(), RobustScaler(), logistic()),
}
CUT: dict[str, tuple[str, Callable[[], ClassifierMixin]]] = {
    "DecisionTree": ("TreeEnsembleClassifier", lambda: DecisionTreeClassifier(random_state=0)),
    "RandomForest": ("TreeEnsembleClassifier", lambda: RandomForestClassifier(20, random_state=0)),
    "ExtraTrees": ("TreeEnsembleClassifier", lambda: ExtraTreesClassifier(10, random_state=0)),
    "GradientBoosting": ("TreeEnsembleClassifier", lambda: GradientBoostingClassifier(n_estimators=8, random_state=0)),
    "HistGradientBoosting": ("TreeEnsembleClassifier", lambda: HistGradientBoostingClassifier(max_iter=8)),
    "Bagged trees": ("TreeEnsembleClassifier", lambda: BaggingClassifier(n_estimators=4, random_state=0)),
    "AdaBoost": ("Equal", lambda: AdaBoostClassifier(n_estimators=6, random_state=0)),
    "KNN": ("TopK", lambda: KNeighborsClassifier(3)),
    # The converter clips all weights to one constant.
    "KNN by distance": ("TopK", lambda: KNeighborsClassifier(15, weights="distance")),
    "BernoulliNB": ("Greater", lambda: BernoulliNB(binarize=3.0)),
    "Hard voting": (
        "Where",
        lambda: VotingClassifier([("a", logistic()), ("b", GaussianNB())], voting="hard", flatten_transform=False),
    ),
    "Binarizer": ("Binarizer", lambda: make_pipeline(Binarizer(threshold=2.0), logistic())),
    "KBins": ("OneHotEncoder", lambda: make_pipeline(KBinsDiscretizer(3, encode="onehot-dense"), logistic())),
}


def _whole(value: Any) -> Any:
    """skl2onnx hands over booleans among whole numbers, which newer protobufs refuse."""
    if isinstance(value, list) and any(isinstance(item, (bool, np.bool_)) for item in value):
        return [int(item) for item in value]
    return value


def converted(
    estimator: ClassifierMixin, x: np.ndarray, zipmap: bool | str = False, opset: int | None = None
) -> onnx.ModelProto:
    from skl2onnx.common import _container

    make = _container.make_node

    def tolerant(*args: Any, **attributes: Any) -> onnx.NodeProto:
        return make(*args, **{name: _whole(value) for name, value in attributes.items()})

    options = {} if isinstance(estimator, LinearSVC) else {id(estimator): {"zipmap": zipmap}}
    _container.make_node = tolerant
    try:
        return skl2onnx.to_onnx(estimator, x[:1], options=options, target_opset=opset)
    finally:
        _container.make_node = make


def runtime_scores(model: onnx.ModelProto, x: np.ndarray) -> tuple[str, np.ndarray]:
    """The name of the score output, and the scores; a ZipMap's maps become rows in the order of the classes."""
    session = runtime(model)
    name = session.get_outputs()[1].name
    (scores,) = session.run([name], {session.get_inputs()[0].name: x})
    if isinstance(scores, list):
        scores = np.array([list(row.values()) for row in scores], dtype=np.float32)
    return name, scores


def assert_same_scores(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())
    if expected.ndim == 2 and expected.shape[1] > 1:
        top = np.sort(expected, 1)
        clear = top[:, -1] - top[:, -2] > 1e-5 * np.abs(expected).max()
        np.testing.assert_array_equal(found.argmax(1)[clear], expected.argmax(1)[clear])


def margin(scores: torch.Tensor, classes: torch.Tensor | None) -> torch.Tensor:
    """The lead of a class over another, or the one score of two classes; summed over rows."""
    if classes is None:
        return scores.sum()
    picked = scores.gather(1, classes)
    return (picked[:, 0] - picked[:, 1]).sum()


def assert_gradient_is_the_slope(
    model: onnx.ModelProto, name: str, x: np.ndarray, scores: np.ndarray, fraction: float = 1e-3
) -> None:
    """At a row of middling certainty, where nothing saturates: central differences of the twin, and of the file.

    ``fraction`` of the score by which the file's changes: single precision wants wide steps.
    """
    top = np.sort(scores, 1)
    lead = top[:, -1] - top[:, -2] if scores.shape[1] > 1 else np.abs(scores[:, 0])
    row = x[[int(np.argmin(np.abs(lead - lead.max() / 2)))]]
    twin = import_onnx(model, name).double()
    at = torch.from_numpy(row.astype(np.float64)).requires_grad_()
    program = twin.graph_module(at.shape, torch.float64)
    value = program(at)[0]
    classes = value.detach().topk(2, 1).indices if value.shape[1] > 1 else None
    (slope,) = torch.autograd.grad(margin(value, classes), at)
    length = float(slope.norm())
    assert np.isfinite(length)
    assert length > 0
    along = slope / length

    def twin_slope(step: float) -> float:
        with torch.no_grad():
            ends = [float(margin(program(at + sign * step * along)[0], classes)) for sign in (1, -1)]
        return (ends[0] - ends[1]) / (2 * step)

    # The step that changes the score by its whole size.
    unit = float(np.abs(scores).max()) / length
    assert twin_slope(1e-6 * unit) == pytest.approx(length, rel=1e-4)
    step = fraction * unit
    ends = []
    for sign in (1, -1):
        moved = (row + sign * step * along.numpy()).astype(np.float32)
        ends.append(float(margin(torch.from_numpy(runtime_scores(model, moved)[1]), classes)))
    assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(length, rel=0.1)


def imported(model: onnx.ModelProto, x: np.ndarray) -> tuple[str, np.ndarray, OnnxModule]:
    """The name of the score output, the runtime's scores, and the module, which gives the same in a batch."""
    assert coverage(model) == []
    name, expected = runtime_scores(model, x)
    module = import_onnx(model, name)
    with torch.no_grad():
        assert_same_scores(module(torch.from_numpy(x)).numpy(), expected)
    assert module.batching == "direct"
    return name, expected, module


@pytest.mark.parametrize("dataset", LOADERS)
@pytest.mark.parametrize("estimator", WITH_GRADIENT)
def test_scores_and_gradients(estimator: str, dataset: str) -> None:
    train, labels, test = data(dataset)
    fitted = WITH_GRADIENT[estimator]().fit(train, labels)
    model = converted(fitted, train)
    name, expected, _ = imported(model, test)
    # Between votes of pairs of classes the scores jump.
    votes = "SVC" in estimator and "probabilities" not in estimator
    assert_gradient_is_the_slope(model, name, test, expected, 1e-4 if votes else 1e-3)


@pytest.mark.parametrize("dataset", LOADERS)
@pytest.mark.parametrize("estimator", CUT)
def test_scores_without_gradient_name_what_cuts_it(estimator: str, dataset: str) -> None:
    op, make = CUT[estimator]
    train, labels, test = data(dataset)
    model = converted(make().fit(train, labels), train)
    _, _, module = imported(model, test)
    assert op in {cut.op for cut in module.cuts if cut.ends}


SOME = ["LogisticRegression", "SVC rbf, probabilities", "SVC rbf", "MLP", "GaussianNB", "KNN by distance"]


@pytest.mark.parametrize("estimator", [*SOME, "RandomForest"])
@pytest.mark.parametrize("zipmap", [True, "columns"])
@pytest.mark.parametrize("text", [False, True])
def test_zip_maps_and_labels_of_text(estimator: str, zipmap: bool | str, text: bool) -> None:
    train, labels, test = data("iris")
    make = CUT[estimator][1] if estimator in CUT else WITH_GRADIENT[estimator]
    named = np.array(["a", "b", "c"])[labels] if text else labels
    model = converted(make().fit(train, named), train, zipmap)
    if zipmap is True:
        name, expected = runtime_scores(model, test)
        assert_same_scores(import_onnx(model, name)(torch.from_numpy(test)).detach().numpy(), expected)
        return
    session = runtime(model)
    for output in session.get_outputs()[1:]:
        (column,) = session.run([output.name], {session.get_inputs()[0].name: test})
        found = import_onnx(model, output.name)(torch.from_numpy(test)).detach().numpy()
        np.testing.assert_allclose(found, column, rtol=0, atol=1e-5)


@pytest.mark.parametrize("estimator", [*SOME, "RandomForest", "Voting", "LDA"])
@pytest.mark.parametrize("opset", [11, 13, 15, None])
def test_opsets(estimator: str, opset: int | None) -> None:
    train, labels, test = data("cancer")
    make = CUT[estimator][1] if estimator in CUT else WITH_GRADIENT[estimator]
    model = converted(make().fit(train, labels), train, opset=opset)
    name, expected = runtime_scores(model, test)
    program = import_onnx(model, name).graph_module(test.shape)
    with torch.no_grad():
        assert_same_scores(program(torch.from_numpy(test))[0].numpy(), expected)


@pytest.mark.parametrize("estimator", [*SOME, "LDA", "Normalizer", "RandomForest"])
def test_double_precision(estimator: str) -> None:
    """Trees then compare in double precision, other operators of ai.onnx.ml compute in single precision."""
    train, labels, test = (values.astype(np.float64) if values.ndim == 2 else values for values in data("cancer"))
    make = CUT[estimator][1] if estimator in CUT else WITH_GRADIENT[estimator]
    model = converted(make().fit(train, labels), train)
    name, expected = runtime_scores(model, test)
    module = import_onnx(model, name)
    with torch.no_grad():
        assert_same_scores(module(torch.from_numpy(test)).numpy(), expected)


def test_power_transforms_mask_a_branch_without_a_slope() -> None:
    train, labels, test = data("cancer")
    model = converted(make_pipeline(PowerTransformer(), logistic()).fit(train, labels), train)
    name, expected = runtime_scores(model, test)
    assert_same_scores(import_onnx(model, name)(torch.from_numpy(test)).detach().numpy(), expected)
    assert_gradient_is_the_slope(model, name, test[(test != 0).all(1)], expected[(test != 0).all(1)])


@pytest.mark.parametrize("metric", [{"metric": "manhattan"}, {"p": 3}, {"metric": "cosine"}])
def test_neighbours_by_other_distances(metric: dict[str, Any]) -> None:
    train, labels, test = data("iris")
    model = converted(KNeighborsClassifier(4, weights="distance", **metric).fit(train, labels), train)
    name, expected = runtime_scores(model, test)
    program = import_onnx(model, name).graph_module(test.shape)
    assert_same_scores(program(torch.from_numpy(test))[0].numpy(), expected)
    assert len(program.graph.nodes) < len(train)


def test_a_file_with_a_fixed_batch_and_spare_weights() -> None:
    """A logistic regression that onnxruntime ships: three rows at a time, and more weights than features."""
    from onnxruntime import datasets

    model = onnx.load(datasets.get_example("logreg_iris.onnx"))
    x = np.random.default_rng(0).normal(size=(3, 2)).astype(np.float32)
    name, expected = runtime_scores(model, x)
    module = import_onnx(model, name)
    assert_same_scores(module(torch.from_numpy(x)).numpy(), expected)
    assert_same_scores(module(torch.from_numpy(np.tile(x, (3, 1))))[4:7].numpy(), np.roll(expected, -1, 0))
