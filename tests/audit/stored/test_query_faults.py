"""What a result says of queries is summed up from its samples, and believed only where it can be true."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from results import make_attack, make_result, make_samples, make_stored

from robaudit.audit.result.document import Result, Served, Spent, content_digest
from robaudit.audit.result.queried import queried
from robaudit.audit.stored.file import parse_result
from robaudit.audit.verdict.conclusion import conclude
from robaudit.errors import UsageError

Content = dict[str, Any]


def stored(served: Served | None = None) -> Result:
    """Square asked 310 queries of each of its 53 samples, 12 of which fell."""
    samples = []
    for sample in make_samples(41, 100):
        spent = Spent(
            attack="square", queries=310, bad=300, repeated=4, watched=50, flagged=45, first_flagged=3, burst=40
        )
        samples.append(sample.model_copy(update={"spent": (spent,)}) if sample.queries else sample)
    draft = make_result(samples=tuple(samples))
    threat = draft.threat_model.model_copy(update={"served": served})
    return conclude(make_stored(draft.model_copy(update={"threat_model": threat})), [])


def refused(change: Callable[[Content], None], result: Result) -> str:
    content = json.loads(result.to_json())
    change(content)
    with pytest.raises(UsageError) as caught:
        parse_result(json.dumps({**content, "digest": content_digest(content)}), "r.json")
    return str(caught.value)


def spent_of(content: Content) -> Content:
    found: Content = next(sample["spent"][0] for sample in content["samples"] if "spent" in sample)
    return found


def test_failures_count_with_what_they_spent() -> None:
    samples = make_samples(3, 6, correct=6)
    costs = {0: 100, 1: 80, 2: 100, 3: 10, 4: 20}  # the last sample was tried without a query
    told = [
        sample.model_copy(update={"spent": (Spent(attack="a", queries=costs[sample.index], bad=1),)})
        if sample.index in costs
        else sample
        for sample in samples
    ]
    found = queried(told, make_attack("a", "scores", attempted=6, queries=310), {3, 4})
    assert found is not None
    assert (found.median, found.mean) == (50, 310 / 6)
    assert (found.median_to_success, found.most_to_success) == (15, 20)
    assert (found.bad, found.watched, found.flagged_samples, found.median_first_flagged) == (5, 0, 0, None)
    assert queried(told, make_attack("b", "scores"), ()) is None


def test_an_honest_result_tells_it_again() -> None:
    result = stored()
    found = result.attacks[1].queried
    assert found is not None
    assert (found.median, found.mean, found.median_to_success, found.most_to_success) == (310, 310, 310, 310)
    assert (found.bad, found.flagged, found.flagged_samples, found.burst) == (53 * 300, 53 * 45, 53, 40)
    assert parse_result(result.to_json(), "r.json") == result
    served = Served(rate="60/min", per_second=1.0)
    assert parse_result(stored(served).to_json(), "r.json").threat_model.served == served


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c["attacks"][1]["queried"].update(median=5.0), "attacks[1].queried.median is 5.0, and its samples"),
        (lambda c: c["attacks"][1].update(queried=None), "attacks[1].queried"),
        (lambda c: spent_of(c).update(queries=311), "cost 310 queries, and its attacks tell of 311"),
        (lambda c: spent_of(c).update(bad=311), "its counts of queries contradict each other"),
        (lambda c: spent_of(c).update(repeated=400), "its counts of queries contradict each other"),
        (lambda c: spent_of(c).update(flagged=51), "its counts of queries contradict each other"),
        (lambda c: spent_of(c).update(burst=46), "its counts of queries contradict each other"),
        (lambda c: spent_of(c).update(first_flagged=None), "its counts of queries contradict each other"),
        (lambda c: spent_of(c).update(first_flagged=51), "its counts of queries contradict each other"),
        (lambda c: spent_of(c).update(attack="nobody"), "was asked by attacks that the audit does not have, or twice"),
        (lambda c: spent_of(c).update(attack="apgd-ce"), "and its samples tell of"),
        (lambda c: c["samples"][0].update(rejected=True), "is rejected, and nothing rejects it"),
        (lambda c: c["threat_model"].update(served={"rate": "60/min"}), "per_second does not follow from its rate"),
        (
            lambda c: c["threat_model"].update(served={"rate": "2/s", "per_second": 1}),
            "rate is '2/s', and per_second 1",
        ),
        (lambda c: c["threat_model"].update(served={"rate": "so", "per_second": 1}), "rate is 'so', and per_second 1"),
    ],
)
def test_what_cannot_be_is_refused(change: Callable[[Content], None], words: str) -> None:
    assert words in refused(change, stored())


def test_repeats_that_are_free_are_no_part_of_the_queries() -> None:
    content = json.loads(stored(Served(duplicates="free")).to_json())
    more = spent_of(content)
    more["repeated"] = 400
    content["attacks"][1]["queried"]["repeated"] += 396
    text = json.dumps({**content, "digest": content_digest(content)})
    assert parse_result(text, "r.json").attacks[1].queried.repeated == 53 * 4 + 396  # type: ignore[union-attr]
