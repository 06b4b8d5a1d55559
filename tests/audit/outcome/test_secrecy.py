"""The price of secrecy: what each access costs an attacker in queries, from the units of a journal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from journal_kit import clean, comes_back, plan, unit
from linear_kit import profile
from results import make_attack, make_result

from robaudit.audit.config.profile_files import load_profile
from robaudit.audit.journal.journal import Journal
from robaudit.audit.journal.records.samples import CleanSample
from robaudit.audit.journal.tally import Tally
from robaudit.audit.outcome.prices import prices_of
from robaudit.audit.plan.secrecy import validate_secrecy
from robaudit.audit.result.document import Attack, Secrecy
from robaudit.audit.result.secrecy import build_secrecy, query_grid
from robaudit.engine.units import case_of, sample_of
from robaudit.errors import UsageError
from robaudit.report.secrecy import secrecy_rows, secrecy_sentences
from robaudit.stats.rates import interval

Found = tuple[str, int, int, bool]
"""(attack, sample or case, queries, whether it fell)."""


def black_box(id: str, budget: int = 100, **changes: Any) -> Attack:
    access = id.split("/")[0]
    return make_attack(id, access, query_budget=budget, **changes)


ATTACKS = (
    black_box("transfer/t", 1),
    black_box("transfer/u", 1),
    black_box("labels/a"),
    black_box("labels/b"),
    black_box("scores/c", 600),
)


def tally(units: Sequence[Found], attacks: Sequence[Attack] = ATTACKS, phase: str = "secrecy", **changes: Any) -> Tally:
    """Of samples 0 to 4 that are answered correctly, and 5 that is not."""
    journal = Journal(None)
    for index in range(6):
        journal.append(clean(index, prediction=int(index == 5), **changes))
    entries = tuple(plan(a.id, access=a.access, phase=phase, budget=a.query_budget).attacks[0] for a in attacks)
    journal.append(type(plan())(attacks=entries))
    assert comes_back(journal.records)
    for attack, sample, queries, fell in units:
        journal.append(unit(attack, sample, queries=queries, success=fell, distance=0.01 if fell else None))
    return Tally(journal, journal.keyed(CleanSample, "index"))


UNITS: list[Found] = [
    *(("transfer/t", i, 1, i == 4) for i in range(5)),
    *(("transfer/u", i, 1, i == 3) for i in range(4)),
    ("labels/a", 0, 30, True),
    ("labels/a", 1, 100, False),
    ("labels/b", 1, 40, True),
    ("labels/a", 2, 100, False),
    ("labels/b", 2, 100, False),
    ("labels/a", 3, 7, True),
    ("labels/a", 4, 100, False),
    ("labels/b", 4, 93, False),
    ("scores/c", 0, 50, True),
    ("scores/c", 1, 10, True),
    ("scores/c", 2, 500, True),
    ("scores/c", 3, 600, False),
    ("scores/c", 4, 600, False),
]


def curves_of(found: Tally, attacks: Sequence[Attack] = ATTACKS, standing: int = 0) -> Secrecy:
    costs: dict[Any, dict[int, int]] = {}
    access = {attack.id: attack.access for attack in attacks}
    for sample, prices in prices_of(attacks, found).items():
        for price in prices:
            costs.setdefault(access[price.attack], {})[sample] = price.queries
    secrecy = build_secrecy("linf", attacks, costs, standing, 5, 6)
    assert secrecy is not None
    return secrecy


def test_queries_are_counted_along_a_cascade_until_the_sample_falls() -> None:
    found = prices_of(ATTACKS, tally(UNITS))
    told = {i: [(price.attack, price.queries) for price in prices] for i, prices in found.items()}
    assert told == {
        0: [("labels/a", 30), ("scores/c", 50)],
        1: [("labels/b", 140), ("scores/c", 10)],
        2: [("scores/c", 500)],
        3: [("transfer/u", 1), ("labels/a", 7)],  # the first candidate was seen to fail
        4: [("transfer/t", 0)],
    }


def test_who_has_more_access_can_do_what_one_with_less_can() -> None:
    transfer, labels, scores = curves_of(tally(UNITS)).curves
    assert [(c.access, c.queries, c.broken, c.unbroken) for c in (transfer, labels, scores)] == [
        ("transfer", 1, 2, 3),
        ("labels", 200, 4, 1),
        ("scores", 600, 5, 0),
    ]
    at = {c.access: {p.queries: p.k for p in c.points} for c in (transfer, labels, scores)}
    assert at["transfer"] == {0: 4, 1: 3}
    assert [at["labels"][q] for q in (0, 1, 20, 30, 100, 140, 200)] == [4, 3, 3, 2, 2, 1, 1]
    assert [at["scores"][q] for q in (0, 1, 5, 10, 30, 200, 500, 600)] == [4, 3, 3, 2, 1, 1, 0, 0]
    for curve in (transfer, labels, scores):
        assert all((p.low, p.high) == interval(p.k, 6) for p in curve.points)
        assert all(p.estimate == p.k / 6 for p in curve.points)


def test_failures_are_censored_and_never_left_out() -> None:
    transfer, labels, scores = curves_of(tally(UNITS)).curves
    assert (transfer.median_queries, transfer.mean_queries) == (None, (0 + 1 + 3 * 1) / 5)
    assert (labels.median_queries, labels.mean_queries) == (30, (0 + 1 + 30 + 140 + 200) / 5)
    assert (scores.median_queries, scores.mean_queries) == (10, (0 + 1 + 10 + 30 + 500) / 5)
    heads, rows = secrecy_rows(curves_of(tally(UNITS)))
    assert heads[-2:] == ["median queries", "mean queries"]
    assert [row[-2:] for row in rows] == [["more than 1", "at least 0.8"], ["30", "at least 74.2"], ["10", "108.2"]]


def test_what_secrecy_buys_is_said() -> None:
    result = make_result()
    text = " ".join(secrecy_sentences(result, curves_of(tally(UNITS))))
    assert "an attacker with labels alone needs 3.0 times the queries for the median sample (30 for 10)" in text
    assert "Secrecy of the model's answers buys 33.3 points: 50.0% [11.8, 88.2] stand with transfer and 1 query" in text
    fewer = [u for u in UNITS if u[:2] not in (("labels/a", 0), ("labels/b", 1))]
    text = " ".join(secrecy_sentences(result, curves_of(tally(fewer))))
    assert "needs more than 20 times the queries for the median sample (more than 200 for 10)" in text
    assert "Labels: 2 of 5 samples fell within 200 queries; median more than 200" in text


def test_an_attack_of_an_access_sees_what_those_before_it_left_whatever_the_audits_own_broke() -> None:
    own = make_attack("apgd-ce")
    entries = [plan("apgd-ce", access="white-box").attacks[0]]
    entries += [plan(a.id, access=a.access, phase="secrecy").attacks[0] for a in ATTACKS[2:4]]
    journal = Journal(None)
    for index in range(3):
        journal.append(clean(index))
    journal.append(type(plan())(attacks=tuple(entries)))
    journal.append(unit("apgd-ce", 0, success=True, distance=0.01))
    journal.append(unit("labels/a", 0, success=True, distance=0.01, queries=5))
    journal.append(unit("labels/a", 1, queries=9))
    journal.append(unit("labels/b", 1, success=True, distance=0.01, queries=4))
    journal.append(unit("labels/b", 0, success=True, distance=0.01, queries=4))  # of a session before `a` broke it
    found = Tally(journal, journal.keyed(CleanSample, "index"))
    assert found.broken_by == {0: "apgd-ce", 1: "labels/b"}
    assert list(found.best["labels/a"]) == [0, 1]
    assert list(found.best["labels/b"]) == [1]
    prices = prices_of((own, *ATTACKS[2:4]), found)
    assert {i: [(p.attack, p.queries) for p in ps] for i, ps in prices.items()} == {
        0: [("labels/a", 5)],
        1: [("labels/b", 13)],
    }


def test_of_several_goals_the_cheapest_counts() -> None:
    first, second = case_of(0, 1), case_of(0, 2)
    units = [("labels/a", first, 100, False), ("labels/a", second, 80, True), ("labels/b", first, 60, True)]
    found = prices_of(ATTACKS[2:4], tally(units, ATTACKS[2:4], goals=(1, 2)))
    assert [(p.attack, p.queries) for p in found[0]] == [("labels/a", 80)]
    assert sample_of(second) == 0


def test_the_audits_own_cascade_is_a_curve_where_all_of_it_has_one_access() -> None:
    own = (make_attack("rays", "labels", query_budget=50), make_attack("geoda", "labels", query_budget=70))
    units = [("rays", 0, 20, True), ("rays", 1, 50, False), ("geoda", 1, 5, True), ("rays", 2, 50, False)]
    [curve] = curves_of(tally(units, own, "cascade"), own).curves
    assert (curve.access, curve.main, curve.queries, curve.attacks) == ("labels", True, 120, ("rays", "geoda"))
    assert (curve.broken, curve.unbroken, curve.median_queries) == (2, 3, None)
    other = make_attack("square", "scores", query_budget=9)
    skipped = make_attack("fgsm", status="skipped")
    unknown = own[0].model_copy(update={"query_budget": None})
    white = make_attack("pgd", "white-box")
    for attacks, some in (
        ((*own, skipped), True),
        ((*own, other), True),  # who has scores has labels
        ((*own, white), False),
        ((unknown,), False),
    ):
        assert (build_secrecy("linf", attacks, {}, 5, 5, 6) is not None) == some


@pytest.mark.parametrize(
    ("most", "wanted"), [(0, [0]), (1, [0, 1]), (7, [0, 1, 2, 5, 7]), (100, [0, 1, 2, 5, 10, 20, 50, 100])]
)
def test_the_grid_rises_to_the_budget(most: int, wanted: list[int]) -> None:
    assert list(dict.fromkeys(query_grid(most))) == wanted


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("{labels: [square]}", r"line \d+ of .*p.yaml: secrecy.labels.0: square is an attack with scores, not with la"),
        ("{scores: [{id: square, querys: 3}]}", r"secrecy.scores.0.querys: attack 'square' has no"),
        ("{transfer: [mi-fgsm]}", r"secrecy.transfer.0: mi-fgsm is an attack with white-box"),
        ("{labels: [rais]}", r"secrecy.labels.0: unknown attack 'rais'"),
    ],
)
def test_attacks_that_have_another_access_are_refused(tmp_path: Path, spec: str, message: str) -> None:
    path = profile(tmp_path / "p.yaml", "linf", f"secrecy: {spec}")
    with pytest.raises(UsageError, match=message):
        validate_secrecy(load_profile(str(path)))


def test_a_profile_takes_the_secrecy_of_its_base_or_drops_it(tmp_path: Path) -> None:
    base = profile(tmp_path / "base.yaml", "linf", "secrecy: {queries: 7}")
    lines = (("a", "secrecy: true", 7), ("b", "secrecy: {queries: 9}", 9), ("c", "", 7), ("d", "secrecy: false", None))
    for name, line, queries in lines:
        path = tmp_path / f"{name}.yaml"
        path.write_text(f"name: {name}\nextends: {base}\n{line}\n")
        secrecy = load_profile(str(path)).secrecy
        assert (secrecy.queries if secrecy else None) == queries
    plain = profile(tmp_path / "plain.yaml", "linf", "")
    assert "secrecy" not in load_profile(str(plain)).model_dump()
