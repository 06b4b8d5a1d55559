"""Bracket: is anything both proved and broken?"""

from __future__ import annotations

from robaudit.checks.base import Bench, Check, Finding, Measured, check_settings
from robaudit.checks.facts import CheckFacts, CheckRule

__all__ = ["Bracket"]


@check_settings
class Bracket(Check):
    """Fails where a sample is certified in a ball and broken in it: certified <= true <= attacked then does not hold.

    Either the proof or the verified example is wrong, an error of robaudit's, and neither figure can be relied on.
    """

    facts = CheckFacts(
        id="bracket",
        title="A sample is both proved and broken.",
        next_step="a sample is both proved and broken, an error of robaudit: please report it with the run directory",
        rule=CheckRule(
            "RA142",
            "CheckBracket",
            "What is proved cannot be broken. Where both are claimed one of them is wrong.",
            "Report it with the run directory.",
            "error",
        ),
        after_reaction=True,
        usual=False,
    )

    def measure(self, bench: Bench) -> Measured:
        """Compare what was proved with what was broken, in each norm."""
        proved = bench.proved()
        broken: dict[str, set[int]] = {}
        for breach in bench.breaches():
            threat = breach.threat or bench.threat
            broken.setdefault(str(threat.norm), set()).add(bench.index_of(breach.sample))
        both = {index for norm, found in proved.items() for index in found & broken.get(norm, set())}
        return {"proved": len(set().union(*proved.values())), "both": sorted(both)}

    def verdict(self, measured: Measured) -> Finding:
        """One sample fails."""
        count, both = measured["proved"], measured["both"]
        if not count:
            return Finding("skipped", "nothing was proved")
        if both:
            return Finding("fail", f"{len(both)} of {count} samples that were proved are broken", len(both), 0)
        return Finding("pass", f"none of {count} samples that were proved is broken", 0, 0)
