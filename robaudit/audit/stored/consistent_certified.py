"""Whether what a result says of certificates can be true: of which balls they are, and on which samples."""

from __future__ import annotations

import math
from collections.abc import Iterator

from robaudit.audit.result.derive import balls
from robaudit.audit.result.document import Certified, Result

__all__ = ["certificate_faults"]


def certificate_faults(result: Result) -> Iterator[str]:
    """What cannot be true of the certificates, a clause each; what they proved and contradict is derived elsewhere."""
    section = result.certified
    named = result.profile.resolved.get("certificates")
    if (section is not None) != bool(named):
        yield "it has certificates that its profile does not ask for, or lacks them"
    if section is None:
        if any(sample.certified for sample in result.samples):
            yield "its samples tell of certificates, and it has none"
        return
    if isinstance(named, dict):
        several = len(balls(result.threat_model)) > 1
        wanted = [f"{b.norm}/{name}" if several else name for b in balls(result.threat_model) for name in named]
        if [entry.id for entry in section.certificates] != wanted:
            yield f"its certificates are not those of its profile ({', '.join(wanted)})"
    yield from _certificates(result, section)
    order = [entry.id for entry in section.certificates]
    for sample in result.samples:
        by, name = [entry.by for entry in sample.certified], f"sample {sample.index} ({sample.id})"
        if by and not (sample.counted and sample.correct):
            yield f"{name} was to be proved, and was not answered correctly or does not count"
        if by != [id for id in order if id in set(by)]:
            yield f"{name} was proved by certifiers that the audit does not have, or twice"
        for entry in sample.certified:
            if entry.proved and (entry.margin is None or entry.margin <= 0):
                yield f"{name} was proved by {entry.by} with the margin {entry.margin}"


def _certificates(result: Result, section: Certified) -> Iterator[str]:
    radii = {ball.norm: ball.eps for ball in balls(result.threat_model)}
    attacked = sum(sample.counted and sample.correct for sample in result.samples)
    lost = any(error.where == "model" for error in result.errors)
    for entry in section.certificates:
        if not math.isclose(radii.get(entry.norm, math.nan), entry.eps, rel_tol=1e-9):
            yield f"the certificate {entry.id} is of {entry.norm} {entry.eps:g}, which is no ball of its threat model"
        if entry.status in ("skipped", "not run") and entry.tried:
            yield f"the certificate {entry.id} is {entry.status}, and was tried on {entry.tried} samples"
        if entry.status == "done" and entry.tried != attacked and not lost:
            yield f"the certificate {entry.id} is done, and was tried on {entry.tried} of {attacked} samples"
