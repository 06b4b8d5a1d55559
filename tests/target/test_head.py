from __future__ import annotations

import pytest
import torch

from robaudit.errors import UsageError
from robaudit.target.head import FileOutput, Head, choose_output

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
    assert Head("y", single=True).measured(raw, unbounded=True).kind == "logits"


def test_rows_that_are_not_finite_do_not_count():
    raw = torch.cat([Z.softmax(1), torch.full((1, 3), float("nan"), dtype=Z.dtype)])
    assert Head("y").measured(raw).kind == "probabilities"
    assert Head("y").measured(raw[2:]).kind == "logits"


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


def out(name: str, shape: tuple[int | None, ...] | None, dtype: str = "float32") -> FileOutput:
    return FileOutput(name, shape, dtype)


@pytest.mark.parametrize(
    ("outputs", "chosen"),
    [
        ([out("anything", (None, 10))], "anything"),
        ([out("a", (1, 1))], "a"),
        ([out("a", (None, 10, 1, 1), "float16")], "a"),
        ([out("a", None)], "a"),
        ([out("features", (None, 512)), out("logits", (None, 10))], "logits"),
        ([out("label", (None,), "int64"), out("probabilities", (None, 3))], "probabilities"),
        ([out("probs", (None, 3)), out("logits", (None, 3))], "logits"),
        ([out("hidden", (None, 49, 64)), out("pooled", (None, 64))], "pooled"),
    ],
)
def test_the_output_with_class_scores(outputs, chosen):
    assert choose_output(outputs).name == chosen


@pytest.mark.parametrize(
    ("outputs", "words"),
    [
        ([out("output0", (1, 84, 8400))], "detectors"),
        ([out("masks", (None, 21, 64, 64))], "segmenters"),
        ([out("out", (None, 21, None, None))], "segmenters"),
        ([out("boxes", (None, 4)), out("labels", (None,), "int64"), out("scores", (None,))], "detectors"),
        ([out("num_dets", (None, 1), "int32"), out("det_scores", (None, 100))], "detectors"),
        ([out("label", (None,), "int64")], "label-only"),
        ([out("label", (None,), "int64"), out("probability", (), "seq(map(int64,float))")], "zipmap=False"),
    ],
)
def test_what_is_no_classifier_is_refused(outputs, words):
    with pytest.raises(UsageError, match=words):
        choose_output(outputs)
