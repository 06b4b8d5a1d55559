"""From two audits to what a defense buys, counted by hand."""

from __future__ import annotations

import pytest
from results import make_result, make_samples

from robaudit.audit.defenses.behind import AskedBehind
from robaudit.audit.defenses.weighing import ranked, weighed
from robaudit.audit.result.document import Defended, Result, Sample
from robaudit.audit.several.changes import bare_row
from robaudit.errors import AuditError
from robaudit.stats.paired import paired_interval

DEFENDED = Defended(id="bits", parameters={"depth": 3}, words="bits:depth=3", summary="Rounds")


def sample(index: int, *, clean: int = 1, broken: bool = False, label: int = 1, counted: bool = True) -> Sample:
    by = {"broken_by": "pgd", "adversarial_prediction": 0, "distance": 0.1} if broken else {}
    return Sample(id=str(index), index=index, label=label, clean_prediction=clean, counted=counted, **by)


def audit(*samples: Sample, defense: Defended | None = None) -> Result:
    found: Result = make_result(samples=make_samples(1, 2))
    return found.model_copy(update={"samples": samples, "defense": defense})


# Without a defense: 0 stands; 1, 2, 3 fall; 4 is wrong of itself.
BARE = audit(
    sample(0), sample(1, broken=True), sample(2, broken=True), sample(3, broken=True), sample(4, clean=0), defense=None
)
# Behind it: 0 and 1 stand; 2 falls to an attack through it; 3 is wrong now; 4 is right, and stands.
BEHIND = audit(sample(0), sample(1), sample(2, broken=True), sample(3, clean=0), sample(4), defense=DEFENDED)


def test_what_a_defense_buys_is_counted_sample_by_sample() -> None:
    asked = AskedBehind(frozenset({1, 2, 3}), frozenset({3}), latency=1.5)
    row = weighed(BARE, BEHIND, asked, "run")
    assert (row.clean.base.k, row.clean.new.k, row.clean.lost, row.clean.gained) == (4, 4, 1, 1)
    assert (row.plain.base.k, row.plain.new.k, row.plain.gained, row.plain.lost) == (1, 4, 3, 0)
    assert (row.adaptive.new.k, row.adaptive.gained) == (3, 2)
    assert row.false_security.difference == pytest.approx(1 / 5)
    assert (row.false_security.low, row.false_security.high) == paired_interval(1, 0, 5)
    assert row.plain.difference - row.adaptive.difference == pytest.approx(row.false_security.difference)
    assert (row.transferred, row.latency, row.outcome) == ((1, 3), 1.5, "no gain found")
    assert row.defense == DEFENDED


def test_an_attacker_who_knows_the_defense_has_the_plain_examples_too() -> None:
    """Sample 1 stands against the attacks through the defense, and falls to the example of the model without it."""
    row = weighed(BARE, BEHIND, AskedBehind(frozenset({1, 2, 3}), frozenset({1, 3})), "run")
    assert (row.plain.new.k, row.adaptive.new.k) == (3, 2)


def test_in_stability_mode_the_answers_without_a_defense_are_the_reference() -> None:
    """Each audit's own answers are its labels: what the defense changes counts as lost."""
    bare = audit(sample(0), sample(1, broken=True))
    behind = audit(sample(0, clean=2, label=2), sample(1), defense=DEFENDED)
    row = weighed(bare, behind, AskedBehind(frozenset({1}), frozenset()), "run")
    assert (row.clean.lost, row.plain.new.k, row.adaptive.new.k) == (1, 1, 1)


def test_samples_that_one_audit_alone_has_or_does_not_count_are_left_out() -> None:
    bare = audit(sample(0), sample(1), sample(2, counted=False))
    behind = audit(sample(0), sample(2), sample(3), defense=DEFENDED)
    assert weighed(bare, behind, AskedBehind(), "run").plain.pairs == 1
    with pytest.raises(AuditError, match="no sample in common"):
        weighed(audit(sample(7)), behind, AskedBehind(), "run")


def many(defended: int, plain: int, count: int = 40) -> str:
    """The outcome where of 40 fallen samples some stand against attacks through a defense, and some against plain."""
    bare = audit(*(sample(i, broken=True) for i in range(count)))
    behind = audit(*(sample(i, broken=i >= defended) for i in range(count)), defense=DEFENDED)
    fooled = frozenset(range(plain, count))
    outcome: str = weighed(bare, behind, AskedBehind(frozenset(range(count)), fooled), "run").outcome
    return outcome


@pytest.mark.parametrize(
    ("defended", "plain", "outcome"),
    [(20, 30, "adds robustness"), (2, 30, "false security"), (0, 2, "no gain found"), (0, 0, "no gain found")],
)
def test_the_outcome_is_what_the_intervals_show(defended: int, plain: int, outcome: str) -> None:
    assert many(defended, plain) == outcome


def test_a_defense_that_breaks_what_stood_costs_robustness() -> None:
    bare = audit(*(sample(i) for i in range(30)))
    behind = audit(*(sample(i, broken=i < 20) for i in range(30)), defense=DEFENDED)
    assert weighed(bare, behind, AskedBehind(), "run").outcome == "costs robustness"


def test_the_largest_adaptive_gain_comes_first() -> None:
    asked = AskedBehind(frozenset({1, 2, 3}), frozenset())
    good, poor = (
        weighed(BARE, BEHIND, asked, "good"),
        weighed(BARE, audit(*BARE.samples, defense=DEFENDED), asked, "poor"),
    )
    assert [row.folder for row in ranked([poor, good])] == ["good", "poor"]
    assert bare_row(BARE, "run").robust.k == 1
