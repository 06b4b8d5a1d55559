"""What to do next after an audit.

The advice on gates that are left open sees to it that a model's tests keep their confidence however many there are.
"""

from __future__ import annotations

from collections.abc import Sequence

from robaudit.audit.config.metrics import is_sequential, parse_metric
from robaudit.audit.result.document import Gate, Result
from robaudit.audit.verdict.check_facts import facts_of
from robaudit.audit.verdict.decisions import sure
from robaudit.audit.verdict.gates import counts, is_procedural
from robaudit.plural import counted

__all__ = ["next_steps", "of_open_gates"]


def of_open_gates(draft: Result, gates: Sequence[Gate]) -> list[str]:
    """Next steps, a sentence each.

    Args:
        draft: the audit.
        gates: that it left open.
    """
    steps: list[str] = []
    ended = draft.sequential is None or draft.sequential.stopped != "interrupted"
    again = [gate for gate in gates if gate.further_samples is not None and gate.further_confidence is not None]
    if again and ended:
        size, level = max(g.further_samples or 0 for g in again), max(g.further_confidence or 0 for g in again)
        sequential = any(is_sequential(gate.metric) for gate in again)
        flags = f"{'--until-decided ' if sequential else ''}--samples {size}"
        gone, allowed = (f"{100 * part:.3g}" for part in (_spent_of(again), 1 - again[0].confidence))
        steps.append(
            f"to test this model again, {flags} would decide if the estimate stayed{_short_of(draft, size)}; of the "
            f"{allowed} % error {gone} are spent, so that the further test is held to {sure(level)}: robaudit sees to "
            f"it where the run directories lie together; elsewhere, and for other data, write confidence: {level:.10g} "
            "at the gate"
        )
    none_left = [g for g in gates if g.further_confidence is None and g.samples_needed is None]
    spent = [g for g in none_left if g.spent is not None or g.earlier]
    if spent and ended:
        steps.append(
            f"{spent[0].metric} stays open: the tests of this model on this data have spent the gate's error, so that "
            "no further one can decide it; a bound that the interval clears can be set all the same (`robaudit gate`)"
        )
    unknown = [gate for gate in gates if gate.spent is None and gate.samples_needed is not None]
    if unknown and ended:
        size = max(gate.samples_needed or 0 for gate in unknown)
        steps.append(
            f"plan {unknown[0].metric} for a model that was not tested yet with --samples {size}; on this one a "
            f"further test is one more chance to err, of up to {1 - unknown[0].confidence:.2g}"
        )
    if any(g.samples_needed is None and g.further_confidence is not None for g in gates):
        steps.append("the estimate lies on a gate's bound: no sample size decides it, move the bound")
    if again and draft.sequential is None and any(is_sequential(gate.metric) for gate in again):
        steps.append(
            "audit the next model with --until-decided from the start: its looks share one error, so that it takes as "
            "many samples as the gate needs"
        )
    return steps


def _spent_of(gates: Sequence[Gate]) -> float:
    """Error of gates that this test and those before it have spent."""
    return max((1 - gate.confidence) - (1 - (gate.further_confidence or 0)) for gate in gates)


def _short_of(draft: Result, size: int) -> str:
    """A word on data that do not hold so many samples."""
    data = draft.data
    if data.asked is not None and data.drawn < data.asked and draft.sequential is None:
        return f" (the data hold {counted(data.drawn, 'distinct input')} alone)" if size > data.drawn else ""
    return f" (the data hold {counted(data.count, 'sample')} alone)" if size > data.count else ""


def _after_failure(gates: Sequence[Gate]) -> list[str]:
    """What to do about gates on the model that failed."""
    failed = [gate for gate in gates if gate.status == "fail" and counts(gate) and not is_procedural(gate.metric)]
    proved = [gate for gate in failed if parse_metric(gate.metric).name == "certified_accuracy"]
    failed = [gate for gate in failed if gate not in proved]
    clean = [gate.metric.rpartition(".")[2] in ("clean_accuracy", "clean_regression") for gate in failed]
    steps = []
    if proved:
        steps.append(
            "too few samples are proved, which does not say that they can be broken: train the model for its bounds, "
            "ask at a smaller radius, or gate the attacked figure"
        )
    if any(clean):
        steps.append(
            "the model answers too few unperturbed samples rightly, whatever the attacks do: look at the labels and "
            "the order of the classes, then at the model"
        )
    if not all(clean):
        steps.append("look at the adversarial examples in the evidence, then harden the model and audit it again")
    return steps


def next_steps(draft: Result, gates: Sequence[Gate], *, unfit: bool) -> list[str]:
    """What to do next, a clause each.

    Args:
        draft: what was measured.
        gates: as they were decided.
        unfit: the audit is incomplete, or cannot vouch for its figures.
    """
    steps = _after_failure(gates)
    if draft.run.interrupted or draft.run.budget_spent or draft.run.failed is not None:
        steps.append("run the same command again: it goes on from the journal")
    steps += [step for check in draft.checks if check.status == "fail" and (step := facts_of(check).next_step)]
    if draft.certified is not None and draft.certified.contradicted:
        steps.append(
            "a sample was proved and broken at once: trust neither figure, and report it to the authors of robaudit, "
            "or of the certifier, with the model and that sample"
        )
    stuck = [attack for attack in draft.attacks if attack.status == "unavailable"]
    if any(attack.access == "white-box" for attack in stuck) and not draft.target.gradient.available:
        steps.append(
            "no gradient for this file: take --profile auto, which attacks it by its scores or labels, or export it "
            "with operators that have one"
        )
    if draft.attacks and all(attack.status == "skipped" for attack in draft.attacks):
        steps.append(
            "name attacks in a profile that serve this norm, goal and number of classes (`robaudit explain` tells "
            "which do), or take --profile union, which has some for every norm"
        )
    if any(attack.status == "failed" for attack in draft.attacks):
        steps.append("see the errors for the attack that failed, and run again")
    if draft.target.assumed:
        table = bool(draft.target.input.features)
        flags = "--mean, --std, --scale, --layout, or robaudit.yaml"
        what = "each feature's range (--feature-ranges)" if table else f"what the input means ({flags})"
        steps.append(f"state {what}; it was assumed, and no gate on the model passes until then")
    if draft.target.training:
        steps.append("call eval() on the model before it is saved or exported, and audit that file")
    if draft.threat_model.goal != "untargeted":
        steps.append("audit with --goal untargeted too: any wrong answer is at least as easy to reach as a certain one")
    if draft.data.reference == "model":
        steps.append("give labelled data (--data) to measure robust accuracy instead of stability")
    steps += of_open_gates(draft, [gate for gate in gates if gate.status == "inconclusive" and counts(gate)])
    if not any(not is_procedural(gate.metric) for gate in gates) and not unfit and not draft.target.assumed:
        how = "--gate 'stability>=0.5'" if draft.worst_case.metric == "stability" else "--min-robust"
        steps.append(f"set a gate of your own, such as {how}, to use this in CI")
    return steps
