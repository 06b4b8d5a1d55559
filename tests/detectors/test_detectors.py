"""Each detector on models of known answers, its gradient against its scores, and thresholds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from detector_kit import FakeSlope, FakeView, meaning, onnx_detector
from run_kit import make_onnx
from target_kit import ready

from robaudit.detectors._views import FileView, TwinView, nodes_of
from robaudit.detectors.base import Samples
from robaudit.detectors.guard import Guard, least_calibration, threshold_at
from robaudit.detectors.lid import dimension, logistic
from robaudit.detectors.registry import detector_classes, fitting, parse_detector, rooted, words_of_detector
from robaudit.errors import UsageError

SPEC = {"mean": (0.0,), "std": (1.0,), "layout": "nchw", "domain": (0.0, 1.0)}


def brightness(u: np.ndarray) -> np.ndarray:
    """Two classes, whose shares are the mean of the features and the rest."""
    mean = np.asarray(u, dtype=np.float64).reshape(len(u), -1).mean(1)
    return np.stack([mean, 1 - mean], 1)


@pytest.mark.parametrize("false_alarms", [0.01, 0.05, 0.2])
def test_a_threshold_rejects_no_more_of_the_next_clean_inputs_than_allowed(false_alarms: float) -> None:
    draw, least = np.random.default_rng(0), least_calibration(false_alarms)
    assert threshold_at(np.arange(least, dtype=np.float64), false_alarms) == least - 1
    with pytest.raises(ValueError, match="false alarms"):
        threshold_at(np.zeros(least - 1), false_alarms)
    alarms = [draw.normal() > threshold_at(draw.normal(size=least + 30), false_alarms) for _ in range(4000)]
    assert np.mean(alarms) <= false_alarms + 3 * np.sqrt(false_alarms / 4000)


def test_squeezing_tells_how_far_the_answer_moves() -> None:
    u = np.stack([np.full((1, 6, 6), 0.6), np.full((1, 6, 6), 1.0)]).astype(np.float32)
    found = parse_detector("squeezing:bits=1,median=0").scores(u, FakeView(brightness), {})
    np.testing.assert_allclose(found, [0.8, 0.0], atol=1e-6)  # 0.6 becomes 1: both shares move by 0.4
    lone = u.copy()
    lone[1, 0, 2, 3] = 0.0  # a median of 3 x 3 takes it away: the mean rises by 1/36
    found = parse_detector("squeezing:bits=0,median=3").scores(lone, FakeView(brightness), {})
    np.testing.assert_allclose(found, [0.0, 2 / 36], atol=1e-6)


def test_consistency_is_the_mean_over_shifts() -> None:
    u = np.zeros((1, 1, 6, 6), dtype=np.float32)
    u[0, 0, 0, 0] = 1.0  # repeated by two of the four shifts, pushed out by the others: the mean moves by 1/36 in each
    found = parse_detector("consistency").scores(u, FakeView(brightness), {})
    np.testing.assert_allclose(found, [2 / 36])


def test_neighbours_of_another_class_are_counted() -> None:
    angles = np.linspace(0, np.pi / 2, 30)
    points = np.stack([np.cos(angles), np.sin(angles)], 1)
    labels = (np.arange(30) >= 20).astype(np.int64)

    def upper(u: np.ndarray) -> np.ndarray:
        return np.tile([0.1, 0.9], (len(u), 1))

    view = FakeView(upper, lambda u: u)
    detector = parse_detector("dknn:neighbours=5")
    fitted = detector.fit(Samples(points, labels), view, None)
    found = detector.scores(np.concatenate([points[25:26], points[:1], 3 * points[19:20]]), view, fitted)
    np.testing.assert_allclose(found, [0.0, 1.0, 0.6])
    with pytest.raises(UsageError, match="counts 40 neighbours, and there are 30"):
        parse_detector("dknn:neighbours=40").fit(Samples(points, labels), view, None)


@pytest.mark.parametrize("dimensions", [2, 8])
def test_the_dimension_of_a_ball_is_found(dimensions: int) -> None:
    draw = np.random.default_rng(0)
    radii = draw.uniform(size=(400, 2000)) ** (1 / dimensions)  # of points spread evenly in a ball
    found = dimension(np.sort(radii, axis=1)[:, :100])
    assert abs(found.mean() / dimensions - 1) < 0.05
    assert np.isfinite(dimension(np.ones((1, 5)))).all()


def test_the_regression_finds_the_boundary_between_even_halves() -> None:
    inputs = np.concatenate([np.full(300, -1.0), np.full(100, 3.0)])[:, None] + np.random.default_rng(0).normal(
        size=(400, 1)
    )
    weights = logistic(inputs, np.repeat([0.0, 1.0], [300, 100]), ridge=1e-3)
    assert weights[1] > 0
    assert abs(-weights[0] / weights[1] - 1.0) < 0.4, "both classes count the same, however many there are"


def views(tmp_path: Path, count: int = 80):
    target, u = ready(make_onnx(tmp_path / "m.onnx"), count, **SPEC)
    nodes = nodes_of(target)
    together, alone = (FileView(target, nodes, alone=how) for how in (False, True))
    return together, alone, TwinView(target), u.numpy()


def autoencoder(path: Path) -> str:
    """Half of each feature, and 0.2."""
    import onnx
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "half"], ["h"]), helper.make_node("Add", ["h", "more"], ["y"])],
        "autoencoder",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 1, 6, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 1, 6, 6])],
        [helper.make_tensor(name, TensorProto.FLOAT, [], [v]) for name, v in (("half", 0.5), ("more", 0.2))],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return str(path)


@pytest.mark.parametrize(
    "words", ["squeezing:bits=0", "consistency", "consistency:shift=2,mirror=true", "lid", "magnet"]
)
def test_where_the_stand_in_is_exact_it_says_what_the_scores_say_and_its_slope_is_theirs(
    tmp_path: Path, words: str
) -> None:
    together, alone, slope, u = views(tmp_path)
    name = f"magnet:file={autoencoder(tmp_path / 'a.onnx')}" if words == "magnet" else words
    detector = fitting(parse_detector(name), together.meaning)
    fitted = detector.fit(Samples(u, together.probabilities(u).argmax(1)), together, slope)
    some = u[-6:]
    scores = detector.scores(some, alone, fitted)
    np.testing.assert_allclose(detector.scores(some, together, fitted), scores, rtol=1e-3, atol=1e-4)
    points = torch.from_numpy(some).double().requires_grad_()
    found = detector.slope(points, slope, fitted)
    assert found is not None
    np.testing.assert_allclose(found.detach().numpy(), scores, rtol=2e-3, atol=2e-4)
    (gradient,) = torch.autograd.grad(found.sum(), points)
    assert (gradient != 0).flatten(1).any(1).all()
    step = 2e-3 * gradient / gradient.flatten(1).norm(dim=1)[:, None, None, None]
    moved = (points.detach() - step).float().numpy()
    assert (detector.scores(moved, alone, fitted) < scores).mean() >= 0.8


def test_the_soft_count_of_neighbours_falls_towards_the_own_class(tmp_path: Path) -> None:
    together, alone, slope, u = views(tmp_path)
    detector = parse_detector("dknn:neighbours=10")
    fitted = detector.fit(Samples(u, together.probabilities(u).argmax(1)), together, slope)
    points = torch.from_numpy(u[:20]).requires_grad_()
    found = detector.slope(points, slope, fitted)
    assert found is not None
    scores = detector.scores(u[:20], alone, fitted)
    assert np.corrcoef(found.detach().numpy(), scores)[0, 1] > 0.9
    (gradient,) = torch.autograd.grad(found.sum(), points)
    assert torch.isfinite(gradient).all()
    assert (gradient != 0).any()


def test_a_fit_on_adversarial_examples_needs_a_gradient(tmp_path: Path) -> None:
    together, _, _, u = views(tmp_path)
    with pytest.raises(UsageError, match="the model has no gradient"):
        parse_detector("lid").fit(Samples(u, np.zeros(len(u), dtype=np.int64)), together, None)


def test_nodes_are_named_by_themselves_or_by_their_tensors(tmp_path: Path) -> None:
    together, _, slope, u = views(tmp_path, 6)
    import onnx

    names = [name for node in onnx.load(tmp_path / "m.onnx").graph.node for name in node.output]
    for name in names[:-1]:
        (file,), (twin,) = together.features(u, [name]), slope.features(torch.from_numpy(u), [name])
        np.testing.assert_allclose(twin.detach().numpy(), file, rtol=1e-4, atol=1e-5)
    with pytest.raises(UsageError, match="has no node 'nowhere'; known are "):
        together.features(u, ["nowhere"])
    with pytest.raises(UsageError, match=f"did you mean '{names[0]}'"):
        together.features(u, [names[0] + "x"])


def test_a_file_is_a_detector_where_it_gives_one_float_number(tmp_path: Path) -> None:
    weights = np.zeros((1, 6, 6))
    weights[0, 0, 0] = 2.0
    found = fitting(parse_detector(f"file:{onnx_detector(tmp_path / 'd.onnx', weights)}"), meaning())
    u = np.zeros((2, 1, 6, 6), dtype=np.float32)
    u[1, 0, 0, 0] = 0.5
    np.testing.assert_allclose(found.scores(u, FakeView(brightness), {}), [0.0, 1.0])
    points = torch.from_numpy(u).requires_grad_()
    slope = found.slope(points, FakeSlope(lambda v: v.flatten(1)[:, :2]), {})
    assert slope is not None
    (gradient,) = torch.autograd.grad(slope.sum(), points)
    np.testing.assert_allclose(gradient[0].numpy(), weights)


@pytest.mark.parametrize(
    ("out", "shape", "why"),
    [
        ("label", (1, 6, 6), "gives int64 of an input; a score is one float number"),
        ("two", (1, 6, 6), "gives 2 numbers of an input; a score is one"),
        ("score", (3, 6, 6), "does not take inputs of 1x6x6"),
    ],
)
def test_other_files_are_refused_in_a_sentence(tmp_path: Path, out: str, shape: tuple[int, ...], why: str) -> None:
    path = onnx_detector(tmp_path / "d.onnx", np.ones(shape), out=out)
    with pytest.raises(UsageError, match=why):
        fitting(parse_detector(f"file:{path}"), meaning())


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("squeezing", "it needs images, and the model takes 4 features"),
        ("squeezing:bits=0,median=0", "no squeezer is left"),
        ("consistency", "it needs images"),
        ("magnet:file=a.onnx", "it needs images"),
    ],
)
def test_what_makes_no_sense_on_a_table_is_refused(words: str, why: str) -> None:
    with pytest.raises(UsageError, match=f"does not apply: {why}"):
        fitting(parse_detector(words), meaning((4,)))


def test_fewer_bits_make_sense_on_a_table() -> None:
    assert fitting(parse_detector("squeezing:bits=2,median=0"), meaning((4,))).id == "squeezing"


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("squeezer", "unknown detector 'squeezer'; did you mean 'squeezing'"),
        ("squeezing:bits=99", "the detector 'squeezing', parameter 'bits'"),
        ("magnet", "the detector 'magnet' needs its file: magnet:FILE"),
        ("dknn:layers=a", "has no parameter 'layers'"),
        ("squeezing:4,5", "a detector is written as"),
    ],
)
def test_what_is_written_wrongly_is_refused(words: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        parse_detector(words)


def test_words_name_a_detector_with_all_its_parameters(tmp_path: Path) -> None:
    for id, cls in detector_classes().items():
        words = words_of_detector(parse_detector(f"{id}:file=a.onnx" if cls.files else id))
        assert words_of_detector(parse_detector(words)) == words
    assert rooted("file:a.onnx", tmp_path) == f"file:file={tmp_path / 'a.onnx'},takes=model"


def test_what_has_no_number_is_rejected() -> None:
    class Silent:
        def scores(self, u, view, fitted):
            return np.where(np.arange(len(u)) == 1, np.nan, 0.0)

    guard = Guard(Silent(), {}, 0.5, FakeView(brightness), FakeView(brightness))  # type: ignore[arg-type]
    assert guard.rejects(np.zeros((3, 1, 2, 2))).tolist() == [False, True, False]
    assert guard.suspicion(np.zeros((0, 1, 2, 2))).shape == (0,)
