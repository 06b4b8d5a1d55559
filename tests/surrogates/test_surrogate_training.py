"""What scores of each kind say, and networks whose answer to an input depends on it alone."""

from __future__ import annotations

import pytest
import torch

from robaudit.surrogates.networks import Fixed, network_for, scaled_to
from robaudit.surrogates.training import imitate, logits_of, size_of

LOGITS = torch.randn(7, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2


def centred(value: torch.Tensor) -> torch.Tensor:
    return (value - value.mean(1, keepdim=True)).float()


@pytest.mark.parametrize(
    ("kind", "scores"),
    [
        ("logits", LOGITS + 5),
        ("probabilities", LOGITS.softmax(1)),
        ("log-probabilities", LOGITS.log_softmax(1)),
        ("sigmoids", LOGITS.sigmoid()),
    ],
)
def test_scores_of_every_kind_say_the_same_logits(kind: str, scores: torch.Tensor) -> None:
    torch.testing.assert_close(logits_of(scores, kind), centred(LOGITS))


def test_scores_that_were_rounded_to_nothing_or_certainty_stay_finite() -> None:
    hard = torch.tensor([[0.0, 1.0, 0.0]])
    for kind in ("probabilities", "sigmoids"):
        found = logits_of(hard, kind)
        assert found.isfinite().all()
        assert found.argmax(1) == 1
    assert logits_of(torch.tensor([[0.0, -torch.inf]]), "log-probabilities").isfinite().all()


@pytest.mark.parametrize("mask", [-1e9, -1e4, -torch.inf])
def test_a_masked_class_does_not_drown_the_others(mask: float) -> None:
    masked = LOGITS.clone()
    masked[:, 2] = mask
    found = logits_of(masked, "logits")
    assert found.abs().max() < 20
    kept = [0, 1, 3]
    torch.testing.assert_close(centred(found[:, kept].double()), centred(LOGITS[:, kept]))


def test_what_is_not_answered_is_told_from_what_is() -> None:
    scores = LOGITS.clone()
    scores[3] = torch.nan
    assert logits_of(scores, "logits").isfinite().all(1).tolist() == [i != 3 for i in range(7)]


def test_the_loss_is_none_at_the_logits_whatever_is_added_and_a_size_does_not_matter() -> None:
    wanted = logits_of(LOGITS, "logits")
    other = wanted.flip(0)
    assert imitate(2.0)(wanted + 3, wanted) < 1e-10
    one, many = imitate(size_of(wanted))(other, wanted), imitate(size_of(1000 * wanted))(1000 * other, 1000 * wanted)
    torch.testing.assert_close(one, many)
    assert size_of(wanted[:0]) == size_of(torch.zeros(3, 2)) == 1.0


@pytest.mark.parametrize(
    "shape", [(1, 28, 28), (3, 90, 61), (1, 4, 4), (2, 40), (3, 700), (1000,), (7,), (2, 3)], ids=str
)
def test_an_answer_depends_on_its_input_alone_and_comes_in_its_type(shape: tuple[int, ...]) -> None:
    model = Fixed(network := scaled_to(network_for(3, shape, 1), 4.0), network.state_dict())
    u = torch.rand(5, *shape, generator=torch.Generator().manual_seed(2))
    found = model.logits(u)
    assert found.shape == (5, 3)
    for place in range(5):
        torch.testing.assert_close(model.logits(u[place : place + 1])[0], found[place], rtol=1e-4, atol=1e-5)
    assert model.logits(u.double()).dtype == torch.float64
    assert sum(value.numel() for value in network.state_dict().values()) < 2_000_000
    assert torch.equal(network_for(3, shape, 1)(u) * 4.0, found)
    assert not torch.equal(network_for(3, shape, 2)(u) * 4.0, found)
