from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from robaudit.target.head.answers import OPEN, predictions
from robaudit.target.head.scores import Head
from robaudit.target.measures.parity import differences
from robaudit.target.outputs.peel import Tail

Z = torch.tensor([[2.0, -1.0, 0.5], [-3.0, 4.0, 0.0]], dtype=torch.float64)


@pytest.mark.parametrize(
    ("raw", "single", "kind"),
    [
        (Z, False, "logits"),
        (Z.softmax(1), False, "probabilities"),
        (Z.softmax(1).half(), False, "probabilities"),
        (Z.log_softmax(1), False, "log-probabilities"),
        (Z.sigmoid(), False, "logits"),
        (Z[:, :1], True, "logits"),
        (Z[:, :1].sigmoid(), True, "probabilities"),
        (Z.softmax(1)[:, :, None, None], False, "probabilities"),
    ],
)
def test_kind_is_read_off_the_numbers(raw, single, kind):
    assert Head("y", single=single).measured(raw).kind == kind


def test_numbers_that_happen_to_lie_in_the_unit_interval_stay_logits_after_a_linear_operator():
    raw = torch.tensor([[0.2], [0.9]])
    assert Head("y", single=True).measured(raw).kind == "probabilities"
    assert Head("y", single=True).measured(raw, (-math.inf, math.inf)).kind == "logits"


def test_rows_that_are_not_finite_do_not_count():
    raw = torch.cat([Z.softmax(1), torch.full((1, 3), float("nan"), dtype=Z.dtype)])
    assert Head("y").measured(raw).kind == "probabilities"
    assert Head("y").measured(raw[2:]).kind == "logits"


def test_minus_infinity_is_a_score():
    masked = Z.clone()
    masked[:, 2] = -torch.inf
    assert Head("y").measured(masked).kind == "logits"
    assert Head("y").measured(masked.log_softmax(1)).kind == "log-probabilities"
    single = Head("y", single=True).scores(torch.tensor([[-torch.inf], [torch.inf], [torch.nan]]))
    assert predictions(single).tolist() == [0, 1, OPEN]


@pytest.mark.parametrize("kind", [np.array, torch.tensor])
def test_one_rule_says_which_answers_name_a_class(kind):
    inf, nan = np.inf, np.nan
    rows = [
        [-inf, 2.0, 1.0],
        [-inf, -inf, -9.0],
        [-inf, -inf, -inf],
        [0.0, inf, 1.0],
        [9.0, nan, -inf],
        [1.0, 0.0, 0.0],
    ]
    found = predictions(kind(rows))
    assert found.tolist() == [1, 2, OPEN, OPEN, OPEN, 0]


def test_infinities_on_both_sides_are_equal():
    inf = torch.inf
    a = torch.tensor([[1.0, -inf, -inf, inf, torch.nan]])
    b = torch.tensor([[1.5, -inf, -90.0, -inf, torch.nan]])
    assert differences(a, b).tolist() == [[0.5, 0, inf, inf, 0]]
    assert differences(a[:, :3], b[:, :3], logarithms=True).tolist() == [[0.5, 0, 0]]
    assert differences(a[:, :3], torch.tensor([[1.0, -inf, -5.0]]), logarithms=True).tolist() == [[0, 0, inf]]


def test_a_logarithm_of_the_smallest_numbers_has_few_digits():
    exact = torch.tensor([[-102.3, -103.9, -95.0, -80.0]])
    rounded = (exact.exp() / 2**-149).round().mul(2**-149).log()
    assert (exact - rounded).abs()[0, :2].min() > 0.1
    assert differences(exact, rounded, logarithms=True)[0, :2].tolist() == [0, 0]
    assert differences(exact, exact - 0.5, logarithms=True)[0, 2:].tolist() == [0.5, 0.5]
    assert differences(exact, rounded)[0, :2].min() > 0.1


def test_logits_undo_the_softmax():
    logits = Head("y", "probabilities").logits(Z.softmax(1))
    torch.testing.assert_close(logits.softmax(1), Z.softmax(1))
    assert Head("y").logits(Z) is Z or torch.equal(Head("y").logits(Z), Z)
    assert torch.equal(Head("y", "log-probabilities").logits(Z.log_softmax(1)), Z.log_softmax(1))


@pytest.mark.parametrize("kind", ["logits", "probabilities"])
def test_one_number_becomes_two_classes(kind):
    z = torch.tensor([[-2.0], [0.7]])
    raw = z if kind == "logits" else z.sigmoid()
    head = Head("y", kind, single=True)
    assert head.scores(raw).shape == (2, 2)
    assert head.scores(raw).argmax(1).tolist() == [0, 1]
    logits = head.logits(raw)
    torch.testing.assert_close(logits[:, 1:] - logits[:, :1], z)


def test_saturated_probabilities_stay_finite():
    raw = torch.tensor([[1.0, 0.0]], requires_grad=True)
    assert Head("y", "probabilities").logits(raw).isfinite().all()


def test_a_label_is_one_for_its_class_and_an_unknown_one_is_no_answer():
    scores = Head("y", "labels", classes=3).scores(torch.tensor([[2], [0], [-1], [3]]))
    assert scores[:2].tolist() == [[0, 0, 1], [1, 0, 0]]
    assert scores[2:].isnan().all()


@pytest.mark.parametrize(
    ("ending", "raw", "kind"),
    [
        ("softmax", Z.softmax(1), "probabilities"),
        ("log-softmax", Z.log_softmax(1), "log-probabilities"),
        ("sigmoid", Z.sigmoid(), "sigmoids"),
        ("sigmoid-share", Z.sigmoid() / Z.sigmoid().sum(1, keepdim=True), "probabilities"),
        ("exp", Z.softmax(1), "probabilities"),
    ],
)
def test_a_peeled_twin_gives_logits_and_the_files_scores(ending, raw, kind):
    answer = raw.log() if ending == "exp" else Z
    head = Head("y", tail=Tail("z", ending)).measured(raw)
    assert head.kind == kind
    assert head.peeled
    torch.testing.assert_close(head.replayed(answer), head.scores(raw))
    assert torch.equal(head.logits(answer).argmax(1), raw.argmax(1))
    if "share" in ending:
        torch.testing.assert_close(head.logits(answer).softmax(1), raw)


def test_one_peeled_sigmoid_is_two_classes():
    z = torch.tensor([[-200.0], [3.0]])
    head = Head("y", single=True, tail=Tail("z", "sigmoid")).measured(z.sigmoid())
    assert head.logits(z).tolist() == [[0, -200], [0, 3]]
    torch.testing.assert_close(head.replayed(z), head.scores(z.sigmoid()))


@pytest.mark.parametrize(
    ("decision", "z", "expected"),
    [
        ("argmax", Z, [0, 1]),
        ("argmin", Z, [1, 0]),
        ("above", torch.tensor([[0.2], [0.9]]), [0, 1]),
        ("below", torch.tensor([[0.2], [0.9]]), [1, 0]),
    ],
)
def test_what_a_label_is_decided_on_gives_the_label_back(decision, z, expected):
    head = Head("y", "labels", classes=2 if z.shape[1] == 1 else 3, tail=Tail("z", "none", decision, 0.5))
    assert head.logits(z).argmax(1).tolist() == expected
    assert head.replayed(z).argmax(1).tolist() == expected
