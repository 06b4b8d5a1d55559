"""Settings of what an outsider gets, who sees the model's answers alone, and makes of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from robaudit.audit.config.declaring import PROFILE, setting

if TYPE_CHECKING:
    from robaudit.audit.config.value_types import Decimals, NotNegative, Positive, Positive01, QueryRate, Texts

__all__ = ["AttackerSettings"]


@dataclass(frozen=True)
class AttackerSettings:
    """What attacks by queries are told, what it costs them, and the surrogates that are made of it."""

    top_scores: Positive | None = setting(
        None,
        int,
        help="Attacks by scores are told those of the K likeliest classes alone.",
        meaning="Classes whose scores attacks by scores are told, the likeliest; null: all.",
        metavar="K",
        identity=PROFILE,
    )
    score_decimals: Decimals | None = setting(
        None,
        int,
        help="Decimals that the scores they are told are rounded to.",
        meaning="Decimals that scores are rounded to before attacks are told them; null: they are not.",
        metavar="D",
        identity=PROFILE,
    )
    score_noise: NotNegative | None = setting(
        None,
        float,
        help="Standard deviation of normal noise on the scores they are told; an identical query gets the same.",
        meaning="Standard deviation of the normal noise on the scores that attacks are told; null: none.",
        metavar="S",
        identity=PROFILE,
    )
    reject_below: Positive01 | None = setting(
        None,
        float,
        help="The service rejects an input whose top probability is below P: no answer, and no success.",
        meaning="Top probability below which the service rejects an input, which then has no class and is no success; "
        "null: it rejects none.",
        metavar="P",
        identity=PROFILE,
    )
    duplicates: Literal["charged", "free"] = setting(
        "charged",
        str,
        help="Whether a query identical to an earlier one of the search counts: charged or free.",
        meaning="Whether a query that is identical to an earlier one of its search counts against the budget: charged "
        "or free. Either way it is answered from memory.",
        completes=("charged", "free"),
        identity=PROFILE,
    )
    query_rate: QueryRate | None = setting(
        None,
        str,
        help="How fast the service answers, such as 60/min: the report says how long attacks would have taken.",
        meaning="How fast the service answers an attacker, such as 60/min, for the report alone; null: not said.",
        identity=PROFILE,
    )
    make_surrogates: Texts = setting(
        (),
        list[str],
        flags=("--make-surrogate",),
        help="Surrogate that the audit makes from the model's answers, such as distilled or distilled:queries=500; "
        "repeatable; none: not those of the profile either.",
        meaning="Surrogates that the audit makes, such as `distilled`, `substitute` or `gray`; `none`: not even those "
        "of the profile.",
        identity=PROFILE,
    )
    matrix: bool | None = setting(
        None,
        bool,
        help="Attack through each surrogate alone too: a table of surrogates and attacks.",
        meaning="Attack through each surrogate alone too, on every sample; null: as the profile says.",
        identity=PROFILE,
    )
