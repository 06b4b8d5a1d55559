"""Black box over white box: who knows less must not do better."""

from __future__ import annotations

from robaudit.attacks.parameters import Percentage
from robaudit.checks.base import Bench, Check, Finding, Measured, check_settings, fires
from robaudit.checks.facts import CheckFacts, CheckRule

__all__ = ["BlackOverWhite"]


@check_settings
class BlackOverWhite(Check):
    """Warns where scores, labels or transfer break samples that every white-box attack left standing.

    They count in the worst case all the same. In the cascade an attack sees only what those before it left, so
    that the breaches of black-box attacks behind all white-box ones are exactly these samples.
    Source: Athalye, Carlini, Wagner 2018, section 3.1.

    Args:
        scores: percentage points of the samples that attacks on scores may break so before that is beyond chance.
        labels: the same of attacks on labels.
        transfer: the same of transferred ones.
    """

    facts = CheckFacts(
        id="black-over-white",
        title="A weaker attacker broke samples that a stronger one left standing.",
        next_step="a weaker attacker did better, a sign of masked gradients: raise black-box budgets",
        rule=CheckRule(
            "RA108",
            "CheckBlackOverWhite",
            "Who has gradients can do what others can, so that this is a sign of masked gradients. The worst case "
            "counts these samples all the same.",
            "Raise the budgets of black-box attacks, and look for what masks the gradient.",
            "warning",
        ),
        tells_masking=True,
    )

    scores: Percentage = 0.2
    labels: Percentage = 1.0
    transfer: Percentage = 0.5

    @property
    def _most(self) -> dict[str, float]:
        return {"scores": self.scores, "labels": self.labels, "transfer": self.transfer}

    def measure(self, bench: Bench) -> Measured:
        """Count breaches by access."""
        from robaudit.engine.units import sample_of
        from robaudit.threat.model import Access

        finished = list(bench.finished().items())
        white = [place for place, (_, access) in enumerate(finished) if access is Access.WHITE_BOX]
        behind = dict(finished[white[-1] + 1 :]) if white else {}
        counts = {name: 0 for name in self._most if name in {str(access) for access in behind.values()}}
        fallen = {(sample_of(b.sample), str(b.access)) for b in bench.breaches() if b.attack in behind}
        for _, access in fallen:
            counts[access] += 1
        _, drawn = bench.clean_counts()
        return {"white": len(white), "drawn": drawn, "counts": counts}

    def verdict(self, measured: Measured) -> Finding:
        """Any such sample warns; the message says whether the threshold is exceeded."""
        counts, n = measured["counts"], measured["drawn"]
        if not measured["white"] or not counts:
            return Finding("skipped", "needs white-box attacks and black-box attacks after them that ran to their end")
        total = sum(counts.values())
        if total == 0:
            return Finding("pass", f"{', '.join(counts)} broke nothing that white box had left", 0.0)
        sure = [name for name, k in counts.items() if fires(k, n, self._most[name])]
        each = ", ".join(f"{name} {k}" for name, k in counts.items() if k)
        text = f"broken by black box alone, of {n}: {each}; they count in the worst case"
        if sure:
            text += f"; beyond chance for {', '.join(sure)}: the gradients may be masked"
        return Finding("warn", text, total / n, min(self._most[name] / 100 for name in counts), sign=bool(sure))
