"""What an audit does not say: threats that were not tried, and assumptions that its figures rest on."""

from __future__ import annotations

from robaudit.audit.journal import Record
from robaudit.audit.plan import threat_model
from robaudit.audit.request import AuditRequest
from robaudit.audit.tally import Tally
from robaudit.audit.threats import boundless
from robaudit.audit.verdict import NORM_SIGNS
from robaudit.threat.model import Goal

__all__ = ["limitations"]


def limitations(request: AuditRequest, data: Record, target: Record, tally: Tally) -> tuple[str, ...]:
    """What the figures do not cover, a sentence each.

    Args:
        request: what was asked.
        data: the journal's record of the data.
        target: its record of the target.
        tally: what the attacks did.
    """
    threat = threat_model(request.profile)
    tried = {threat.norm, *(other.norm for other in request.profile.threat.also)}
    others = [sign for name, sign in NORM_SIGNS.items() if name not in tried]
    found = [
        "attacked accuracy is an upper bound: an attack that was not tried may break more; the interval covers "
        "sampling alone",
        "not tested: "
        + (f"other norms ({', '.join(others)}), " if others else "")
        + "spatial, patch and universal perturbations, and changes outside the domain's box",
    ]
    ran = {r["access"] for r in tally.attacks if r["status"] in ("done", "partial")}
    missing = [a for a in ("white-box", "transfer", "scores", "labels") if a not in ran]
    if missing:
        found.append(f"no attack ran with this access: {', '.join(missing)}")
    features = target["input"]["features"] or ()
    still = sum(f["immutable"] or f["low"] == f["high"] for f in features)
    if whole := boundless(request.profile, target["input"]["shape"], still):
        signs = ", ".join(NORM_SIGNS[norm] for norm in whole)
        found.append(
            f"the radius in {signs} reaches every valid input: there a sample stands only if the model never answers "
            "otherwise; choose one that suits this input"
        )
    if threat.goal is Goal.TARGETED:
        found.append(
            "targeted: a sample counts as broken only where the class asked for is answered; an attacker to whom any "
            "wrong answer is good breaks at least as many"
        )
    if data["reference"] == "model":
        found.append("stability mode: the model's own clean answers are the reference; no accuracy is claimed")
    found += target["assumed"]
    return tuple(found)
