"""Results of every kind for the tests of report formats, and results with hostile text in every field."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from results import make_attack, make_result

from robaudit.audit.config.profile import GateSpec
from robaudit.audit.result.document import (
    Attack,
    AuditFailure,
    Baseline,
    ChangedSample,
    Check,
    Comparison,
    Curve,
    CurvePoint,
    PairedChange,
    Pairs,
    ProfileRecord,
    Radius,
    Result,
    Sample,
    SampleBreach,
    Secrecy,
    Threat,
    ThreatOutcome,
)
from robaudit.audit.result.secrecy import build_secrecy
from robaudit.audit.result.sections.gates import Exemption
from robaudit.audit.result.sections.run import Place
from robaudit.audit.verdict.conclusion import conclude
from robaudit.stats.rates import rate

__all__ = ["BLACK_BOX", "HOSTILE", "cases", "check_discreet", "hostile_results"]

HOSTILE = (
    "<script>alert(1)</script>",
    "![x](http://evil.example/x.png) [click](javascript:alert(1))",
    "a | b `code` **bold** # head\n\n## two",
    "]]> <!-- & &amp; \x00\x0b\x1b[31mred\x1b[0m \ufffe \ud800",
    '=HYPERLINK("http://evil.example","x")',
    "+1\t-2\r\n@SUM(A1)",
    "\u202egpj.exe",
    "/home/secret/models/m.onnx and C:\\Users\\secret\\m.onnx",
    "{0} {{x}} %SRCROOT% @everyone #1",
    "'\"\\",
)


BLACK_BOX = (
    make_attack("apgd-ce"),
    make_attack("labels/rays", "labels", query_budget=1000),
    make_attack("scores/square", "scores", query_budget=1000),
)


def check_discreet(text: str) -> None:
    """A report names no place of the machine, and claims no conformity."""
    assert "/home" not in text
    assert "secret" not in text
    assert "compliant" not in text


def make_comparison(*, same_model: bool = False, outcome: str = "worse", broken: int = 3) -> Comparison:
    change = PairedChange(
        pairs=100,
        base=rate(60, 100),
        new=rate(41, 100),
        lost=22,
        gained=3,
        difference=-0.19,
        low=-0.28,
        high=-0.1,
        confidence=0.95,
        p_value=0.0002,
        outcome=outcome,
    )
    changed = tuple(
        ChangedSample(
            id=f"cat/{i}.png",
            index=i,
            base_state="stands",
            new_state="broken",
            new_broken_by="square" if i % 2 else None,
        )
        for i in range(broken)
    )
    return Comparison(
        baseline=Baseline(
            run="ff" * 32, finished="2025-01-01T00:00:00+00:00", file="old.onnx", sha256="aa" * 32, command="robaudit"
        ),
        same_model=same_model,
        metric="robust_accuracy",
        worst_case=change,
        clean=change.model_copy(update={"base": rate(93, 100), "new": rate(93, 100), "outcome": "no change detected"}),
        newly_broken=changed,
        newly_fixed=changed[:1],
        message="Fewer samples stand than in the baseline: 41 of 100 against 60 of 100.",
    )


def make_curve() -> Curve:
    points = tuple(
        CurvePoint(eps=e, k=k, n=100, estimate=k / 100, low=max(0, k / 100 - 0.1), high=min(1, k / 100 + 0.1))
        for e, k in ((0.0, 93), (0.01, 60), (0.0314, 41))
    )
    return Curve(
        norm="linf",
        attacks=("fab",),
        confidence=0.95,
        points=points,
        step=0.01,
        broken=52,
        unbroken=41,
        median_distance=0.02,
        area=0.02,
        area_eps=0.0314,
    )


def make_secrecy(attacks: tuple[Attack, ...] = BLACK_BOX) -> Secrecy:
    """Of 93 samples that are answered correctly 40 fall to labels, 80 to scores, and all but 2 to anything."""
    labels, scores = {i: 10 * (i + 1) for i in range(40)}, {i: 3 * (i + 1) for i in range(80)}
    found = build_secrecy("linf", attacks, {"labels": labels, "scores": scores}, 2, 93, 100)
    assert found is not None
    return found


PLACES = ProfileRecord(
    name="ours",
    source="/home/secret/repo/ci/ours.yaml",
    sha256="ef" * 32,
    resolved={},
    places={
        "model": Place(file="models/a b.onnx"),
        "gates.robust_accuracy": Place(file="robaudit.yaml", line=7),
        "attacks.square": Place(file="ci/ours.yaml", line=12),
        "checks.parity": Place(file="ci/ours.yaml", line=3),
    },
)
SEQUENTIAL = {
    "most": 500,
    "samples": 100,
    "planned": [50, 100, 500],
    "stopped": "decided",
    "reason": "the gates were decided after 100 of 500 samples",
    "share": 0.3,
}
FAILS = [GateSpec(metric="robust_accuracy", min=0.9), GateSpec(metric="clean_accuracy", min=0.5)]
TARGETED = Threat(norm="linf", eps=8 / 255, eps_text="8/255", goal="every:3", goal_words="each of 3 classes")
UNION = Threat(
    norm="linf",
    eps=8 / 255,
    eps_text="8/255",
    also=(Radius(norm="l2", eps=0.5, eps_text="0.5"),),
    access=("white-box",),
)


def _check(status: str) -> tuple[Check, ...]:
    return (
        Check(id="clean", status="pass", value=0.93, threshold=0.9, message="as declared"),
        Check(id="parity", status=status, value=0.5, threshold=0.999, message="the twin answers differently"),
        Check(id="unbounded", status="skipped", message="no white-box attack"),
    )


def _incomplete(status: str) -> dict[str, Any]:
    reason = "the file has no gradient, see /home/secret/m.onnx" if status != "done" else None
    missing = make_attack(
        "apgd-ce", status=status, reason=reason, attempted=0, broken=0, newly_broken=0, rate_alone=None
    )
    return {"attacks": (missing, make_attack("square", "scores"))}


def cases() -> dict[str, Result]:
    """Results of every kind, by what is particular to them."""
    drafts: dict[str, tuple[Result, list[GateSpec]]] = {
        "measured": (make_result(), []),
        "passes": (make_result(k=90), [GateSpec(metric="robust_accuracy", min=0.5)]),
        "fails": (make_result(profile=PLACES), FAILS),
        "warns": (make_result(checks=_check("warn")), [GateSpec(metric="robust_accuracy", min=0.9, level="warn")]),
        "inconclusive": (make_result(k=41), [GateSpec(metric="robust_accuracy", min=0.4)]),
        "invalid": (make_result(), [GateSpec(metric="stability", min=0.4)]),
        "withheld": (make_result(checks=_check("fail"), profile=PLACES), FAILS),
        "unknown check": (make_result(checks=(Check(id="new", status="warn", message="odd"),)), []),
        "doubtful evidence": (make_result(checks=(Check(id="evidence", status="fail", message="no replay"),)), FAILS),
        "interrupted": (make_result(run={"interrupted": True}), FAILS),
        "worker failed": (
            make_result(
                run={"failed": "out of memory", "notes": ["a batch was halved"]},
                errors=(AuditFailure(where="worker", message="out of memory", sample="cat/1.png", attack="square"),),
            ),
            [],
        ),
        "stability": (make_result(stability=True), []),
        "targeted": (_targeted(), []),
        "curve": (make_result(curves=(make_curve(),)), []),
        "secrecy": (make_result(attacks=BLACK_BOX, secrecy=(make_secrecy(),)), []),
        "union": (_union(), []),
        "worse than the baseline": (make_result(comparison=make_comparison(broken=150)), []),
        "as the baseline": (make_result(comparison=make_comparison(same_model=True, outcome="better", broken=0)), []),
        "sequential": (make_result(sequential=SEQUENTIAL), []),
        "assumed": (make_result(target={"assumed": ["the range is [0, 1]", "channels are rgb"]}), FAILS),
        "nothing audited": (make_result(k=0, n=0, samples=[], attacks=()), FAILS),
        "somewhere else": (make_result(target={"file": "/home/secret/models/m.onnx"}), FAILS),
        "above": (make_result(target={"file": "../../m.onnx"}), FAILS),
    }
    drafts |= {status: (make_result(**_incomplete(status)), FAILS) for status in STATUSES}
    found = {name: conclude(draft, gates) for name, (draft, gates) in drafts.items()}
    ignored = Exemption(reason="until the retraining, see [ticket](http://x)", until="2030-01-01", active=True)
    for name, exemption in (("ignored", ignored), ("no longer ignored", ignored.model_copy(update={"active": False}))):
        gates = tuple(gate.model_copy(update={"ignore": exemption}) for gate in found["fails"].gates)
        found[name] = found["fails"].model_copy(update={"gates": gates})
    return found


STATUSES = ("partial", "skipped", "unavailable", "failed", "not run")


def _pairs(attack: Any) -> Any:
    return attack.model_copy(update={"pairs": Pairs(tried=279, reached=60, share=60 / 279), "goal": "targeted"})


def _targeted() -> Result:
    draft = make_result(threat_model=TARGETED, attacks=(_pairs(make_attack("apgd-t")),))
    pairs = draft.attacks[0].pairs
    return draft.model_copy(update={"worst_case": draft.worst_case.model_copy(update={"pairs": pairs})})


def _union() -> Result:
    outcomes = tuple(
        ThreatOutcome(
            norm=norm,
            eps=eps,
            eps_text=text,
            attacks=("apgd-ce",),
            broken=50,
            broken_here_alone=5,
            upper_bound_observed=rate(43, 100),
            median_distance=0.02,
        )
        for norm, eps, text in (("linf", 8 / 255, "8/255"), ("l2", 0.5, "0.5"))
    )
    breach = SampleBreach(norm="l2", attack="apgd-ce", distance=0.4, prediction=5)
    sample = Sample(id="a", index=0, label=3, clean_prediction=3, broken_by="apgd-ce", distance=0.4, breaches=(breach,))
    attacks = (make_attack("apgd-ce"), make_attack("apgd-ce", norm="l2", eps=0.5))
    return make_result(threat_model=UNION, threats=outcomes, attacks=attacks, samples=(sample,))


def hostile_texts() -> st.SearchStrategy[str]:
    return st.one_of(st.sampled_from(HOSTILE), st.text(max_size=30), st.lists(st.sampled_from(HOSTILE)).map(" ".join))


@st.composite
def hostile_results(draw: st.DrawFn) -> Result:
    """A result with hostile text wherever a file, its metadata, a data set or a message puts text."""

    def text() -> str:
        return draw(hostile_texts())

    attack = make_attack(
        "square", "scores", name=text(), status=draw(st.sampled_from(("done", *STATUSES))), reason=text()
    )
    check = Check(id="parity", status=draw(st.sampled_from(("pass", "warn", "fail", "skipped"))), message=text())
    draft = make_result(
        attacks=(make_attack("apgd-ce"), attack),
        checks=(check,),
        target={
            "file": text() or "m",
            "details": {"producer": text()},
            "assumed": draw(st.lists(hostile_texts(), max_size=1)),
        },
        data={"source": text(), "classes": [text(), text()], "class_order": text(), "notes": [text()]},
        run={"command": text(), "notes": [text()], "failed": draw(st.none() | hostile_texts())},
        threat_model=Threat(norm="linf", eps=0.1, eps_text=text(), goal="class:x", goal_words=text(), domain=text()),
        profile=ProfileRecord(
            name=text(),
            source=text(),
            sha256="ef" * 32,
            resolved={},
            places=draw(st.sampled_from(({}, PLACES.places))) | {"attacks.square": Place(file=text() or "p", line=3)},
        ),
        limitations=[text()],
        errors=(AuditFailure(where=text(), message=text(), sample=text(), attack=text()),),
        samples=(
            Sample(id=text(), index=0, label=3, clean_prediction=3, broken_by=text(), left_out=text(), error=text()),
            Sample(id=text(), index=1, label=None, clean_prediction=None),
        ),
        comparison=draw(st.none() | st.just(make_comparison())),
    )
    result = conclude(draft, FAILS)
    gates = [gate.model_dump() | {"message": text(), "metric": text()} for gate in result.gates]
    return Result.model_validate(result.model_dump() | {"gates": gates})
