"""Hand-made results for the tests of gates, verdicts and reports."""

from __future__ import annotations

from typing import Any

from robaudit import METHODS
from robaudit.audit.result.derive import derived
from robaudit.audit.result.document import (
    Attack,
    Check,
    Clean,
    Environment,
    Evidence,
    Gradient,
    InputSpec,
    Output,
    ProfileRecord,
    Result,
    Sample,
    Threat,
    Tool,
    Verdict,
    WorstCase,
)
from robaudit.audit.verdict.limitations import limitations
from robaudit.stats.rates import rate


def make_attack(id: str, access: str = "white-box", **changes: Any) -> Attack:
    content = {
        "id": id,
        "name": id.upper(),
        "access": access,
        "status": "done",
        "norm": "linf",
        "eps": 8 / 255,
        "seed": 0,
        "attempted": 93,
        "broken": 40,
        "newly_broken": 40,
        "cumulative_robust_accuracy": rate(53, 100),
        "median_distance": 0.031,
        "forwards": 12_345,
        "backwards": 9_300,
        "seconds": 12.3,
    }
    return Attack.model_validate(content | changes)


def make_samples(k: int, n: int, correct: int = 93, first: int = 40) -> list[Sample]:
    """n samples of which so many are answered correctly; all but k fall, the first ones to apgd-ce, then to square."""
    correct = max(k, min(correct, n))
    found = []
    for i in range(n):
        by = None if i < k or i >= correct else "apgd-ce" if i - k < first else "square"
        fell = {"broken_by": by, "adversarial_prediction": 5, "distance": 0.031} if by else {}
        queries = 310 if by != "apgd-ce" and i < correct else 0
        answer = 3 if i < correct else 4
        found.append(Sample(id=f"cat/{i}.png", index=i, label=3, clean_prediction=answer, queries=queries, **fell))
    return found


def make_stored(draft: Result) -> Result:
    """A draft as it may be stored: all that follows from its samples does; its attacks are apgd-ce and square."""
    whole = [s for s in draft.samples if s.counted and s.correct]
    left = len(whole)
    attacks = []
    for attack in draft.attacks:
        fell = sum(s.broken_by == attack.id for s in whole)
        queries = sum(s.queries for s in draft.samples) if attack.access == "scores" else 0
        goal = {"attempted": left, "queries": queries, "rate_alone": None, "cumulative_robust_accuracy": None}
        attacks.append(attack.model_copy(update=goal))
        left -= fell
    broken = sum(s.broken_by is not None for s in draft.samples)
    evidence = draft.evidence.model_copy(
        update={"count": broken} | ({} if broken else {"path": None, "sha256": None}),
    )
    data = draft.data.model_copy(
        update={"drawn": len(draft.samples), "count": max(draft.data.count, len(draft.samples))}
    )
    found = derived(draft.model_copy(update={"attacks": tuple(attacks), "evidence": evidence, "data": data}))
    return found.model_copy(update={"limitations": limitations(found)})


def make_result(
    *,
    k: int = 41,
    n: int = 100,
    stability: bool = False,
    attacks: tuple[Attack, ...] | None = None,
    checks: tuple[Check, ...] | None = None,
    target: dict[str, Any] | None = None,
    data: dict[str, Any] | None = None,
    run: dict[str, Any] | None = None,
    **changes: Any,
) -> Result:
    """A draft as an audit hands it to ``conclude``."""
    if attacks is None:
        attacks = (
            make_attack("apgd-ce", rate_alone=rate(53, 100), parameters={"steps": 20}),
            make_attack(
                "square",
                "scores",
                attempted=53,
                broken=12,
                newly_broken=12,
                cumulative_robust_accuracy=rate(k, n),
                queries=31_000,
                backwards=0,
            ),
        )
    if checks is None:
        checks = tuple(Check(id=id, status="pass", message=f"{id} holds") for id in ("clean", "parity", "evidence"))
    return Result.model_validate(
        {
            "tool": Tool(version="0.1.0", methods=METHODS),
            "run": {
                "id": "0123abcd",
                "seed": 0,
                "started": "2025-01-01T00:00:00+00:00",
                "finished": "2025-01-01T00:01:00+00:00",
                "seconds": 60.0,
                "command": "robaudit scan model.onnx --data data",
                "batch_size": "auto",
            }
            | (run or {}),
            "verdict": Verdict(status="measured", headline="draft", exit_code=0),
            "target": {
                "file": "model.onnx",
                "sha256": "ab" * 32,
                "bytes": 1_234_567,
                "format": "onnx",
                "input": InputSpec(
                    name="input",
                    shape=("N", 3, 32, 32),
                    dtype="float32",
                    layout="NCHW",
                    channels="rgb",
                    mean=(0.5, 0.5, 0.5),
                    std=(0.25, 0.25, 0.25),
                    provenance={"mean": "flag --mean", "std": "flag --std", "layout": "from the shape"},
                ),
                "outputs": [Output(name="logits", shape=("N", 10), dtype="float32", scores=True)],
                "num_classes": 10,
                "head": "logits",
                "gradient": Gradient(available=True, source="a torch twin of the graph"),
                "batch_invariant": True,
            }
            | (target or {}),
            "data": {
                "source": "data",
                "kind": "image folder",
                "sha256": "cd" * 32,
                "count": 500,
                "drawn": n,
                "reference": "model" if stability else "labels",
            }
            | (data or {}),
            "threat_model": Threat(
                norm="linf", eps=8 / 255, eps_text="8/255", eps_default=True, access=("white-box", "scores")
            ),
            "profile": ProfileRecord(name="quick", source="built-in", sha256="ef" * 32, resolved={}),
            "environment": Environment(python="3.11.9", platform="Linux", device="cpu", judge="ONNX Runtime 1.20, CPU"),
            "clean": Clean(accuracy=None if stability else rate(93, 100)),
            "worst_case": WorstCase(
                metric="stability" if stability else "robust_accuracy", upper_bound_observed=rate(k, n)
            ),
            "attacks": attacks,
            "checks": checks,
            "evidence": Evidence(path="evidence.npz", sha256="01" * 32, count=52),
            "limitations": ["Only L∞ was tested."],
            "samples": [
                Sample(
                    id="cat/1.png",
                    index=0,
                    label=3,
                    clean_prediction=3,
                    broken_by="apgd-ce",
                    adversarial_prediction=5,
                    distance=0.031,
                ),
                Sample(id="cat/2.png", index=1, label=3, clean_prediction=3),
            ],
        }
        | changes
    )
