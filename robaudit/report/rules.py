"""The rules that findings are reported under; those of checks stand in the checks' files.

An id is never used again for anything else, nor its meaning changed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from robaudit.audit.result.document import Check, Result
from robaudit.audit.verdict.check_facts import facts_of
from robaudit.checks.facts import CheckFacts, CheckRule, Level
from robaudit.checks.registry import check_classes, own_checks
from robaudit.report.words import plain

__all__ = ["RULES", "Level", "Rule", "check_rule", "every_rule", "rule_id", "rules_of"]

EVASION = ("AML.T0015", "NISTAML.022", "ML01:2023", "CWE-1039", "Article 15")
"""Entries of catalogues (``taxonomy.py``) that evasion is evidence toward."""


@dataclass(frozen=True)
class Rule:
    """What a finding says."""

    id: str
    """Stable, such as ``RA001``."""
    name: str
    """In one word, such as ``GateFailed``."""
    title: str
    """In one sentence."""
    why: str
    """Why it matters."""
    action: str
    """What to do."""
    level: Level
    """How severe a finding is, where nothing says otherwise."""
    taxa: tuple[str, ...] = ()
    """Entries of catalogues that every finding is evidence toward."""


_ALL = (
    Rule(
        "RA001",
        "GateFailed",
        "A gate failed on verified evidence.",
        "The owner said what the model must keep, and the audit found adversarial examples, confirmed on the file as "
        "shipped, that show it does not. An attacked figure is an upper bound: more attacks can only lower it.",
        "Look at the adversarial examples of the run, harden the model (such as by adversarial training at this norm "
        "and radius), and audit it again. Do not lower the bound unless the threat model was wrong.",
        "error",
        EVASION,
    ),
    Rule(
        "RA002",
        "GateInconclusive",
        "Too few samples were audited to decide a gate at its confidence.",
        "The observed figure lies on one side of the bound, its exact interval on both, so that neither a pass nor a "
        "failure is known.",
        "Plan audits with --until-decided, whose looks at growing samples share one error. To audit the same model "
        "again is a further test: the report says what it takes, and how sure it must be for all tests together to "
        "keep the gate's confidence.",
        "warning",
    ),
    Rule(
        "RA003",
        "GateNotJudged",
        "A gate could not be judged.",
        "What it looks at was not measured, or the audit that measured it is incomplete or not valid. Such a gate "
        "never counts as passed.",
        "Read why in the message, mend that (a check that failed, an attack that did not run, data without labels), "
        "and audit again.",
        "error",
    ),
    Rule(
        "RA010",
        "ModelFooled",
        "Inputs that the model answers correctly are answered wrongly after a small change.",
        "Whoever can choose or alter inputs can choose errors. The figure is the worst case over all attacks, sample "
        "by sample, and an upper bound on what holds against a stronger attacker.",
        "Decide whether this threat model is real for your system; if it is, set a gate (--min-robust), harden the "
        "model, and do not rely on its answer alone where an attacker gains by an error.",
        "note",
        EVASION,
    ),
    Rule(
        "RA011",
        "VerifiedAdversarialExamples",
        "An attack found adversarial examples that the file as shipped confirmed.",
        "Each of them lies inside the threat model, was judged on the file itself, and is kept with the run as "
        "evidence. It shows how much access an attacker needs.",
        "Look at them with their originals; `robaudit explain` tells what the attack does and needs.",
        "note",
        ("AML.T0042", *EVASION),
    ),
    Rule(
        "RA012",
        "WorseThanBaseline",
        "The model stands against fewer attacks than in the baseline.",
        "On the same samples, attacks and seeds an exact paired test finds the change, so that chance in drawing "
        "samples does not explain it.",
        "Compare the two models: training, preprocessing, quantisation and pruning all change robustness. Accept a "
        "new baseline only on purpose.",
        "warning",
        EVASION,
    ),
    Rule(
        "RA013",
        "SampleNewlyBroken",
        "A sample that stood in the baseline is broken or misclassified now.",
        "It names an input whose answer the change of model cost. Single samples change by chance too; whether the "
        "whole got worse is said by the paired test (RA012).",
        "Look at the sample with its adversarial example, and at what it has in common with others in the list.",
        "note",
        EVASION,
    ),
    Rule(
        "RA020",
        "AuditIncomplete",
        "The audit did not carry out everything that was planned.",
        "What did not run might have broken more, so that no robust accuracy is claimed and no gate on the model "
        "passes. A gate that already failed has failed all the same.",
        "Read the reasons; run the same command again, which goes on from the journal, or choose a profile whose "
        "attacks this file can serve.",
        "error",
    ),
    Rule(
        "RA021",
        "AttackNotRun",
        "An attack of the profile did not run to its end.",
        "An attack that did not run proves nothing. A file without a gradient, such as one with labels alone, is not "
        "robust because white-box attacks cannot start.",
        "If the file cannot serve it, choose a profile without it, or give a stand-in or a surrogate; if it failed, "
        "see the errors of the run and report it.",
        "warning",
    ),
    Rule(
        "RA022",
        "NothingAudited",
        "No sample could be audited.",
        "There is no figure to report: no sample could be read, or the file's answers to all of them name no class.",
        "See the errors of the run; `robaudit inspect` shows what the input is taken for.",
        "error",
    ),
    Rule(
        "RA023",
        "ProvedAndBroken",
        "A sample was proved to stand, and broken all the same.",
        "One of the two is wrong: a certifier that is not sound, a graph that was read otherwise than the runtime runs "
        "it, or a judge that took a point for admissible. No figure of the audit is to be trusted.",
        "Report it to the authors of robaudit, or of the certifier, with the model and the sample; run the audit "
        "without the certificate until then.",
        "error",
    ),
    Rule(
        "RA030",
        "InputAssumed",
        "What the input means was assumed.",
        "With a wrong range, order of channels or normalisation both the model and the attacks see other inputs than "
        "in use, and every figure is that of another model. No gate on the model passes until it is stated.",
        "State it with --mean, --std, --scale, --layout, --channels or --feature-ranges, or in robaudit.yaml.",
        "warning",
    ),
    Rule(
        "RA031",
        "NoLabels",
        "There were no labels, so that stability was measured and not accuracy.",
        "The model's own answers are the reference: the audit says how easily an answer changes, and nothing about "
        "whether it was right.",
        "Give labelled data (--data).",
        "note",
    ),
    Rule(
        "RA100",
        "CheckOther",
        "A check of the audit that has no rule of its own failed or warned.",
        "A check that fails says that the audit cannot vouch for its figures.",
        "Read its message; `robaudit explain` lists the checks.",
        "warning",
    ),
)

GENERAL = "RA100"
"""The rule of a check that has none of its own."""


def _of_check(facts: CheckFacts, rule: CheckRule) -> Rule:
    return Rule(rule.id, rule.name, facts.title, rule.why, rule.action, rule.level)


def _with_checks(checks: Iterable[CheckFacts]) -> dict[str, Rule]:
    found = {rule.id: rule for rule in _ALL}
    for facts in checks:
        if facts.rule is not None:
            found.setdefault(facts.rule.id, _of_check(facts, facts.rule))
    return found


RULES: dict[str, Rule] = _with_checks(cls.facts for cls in own_checks().values())
"""Robaudit's own, in the order of their ids."""


def every_rule() -> dict[str, Rule]:
    """Robaudit's own rules, and those of the checks that other packages bring."""
    return _with_checks(cls.facts for cls in check_classes().values())


def rules_of(result: Result) -> dict[str, Rule]:
    """Robaudit's own rules, and those of the result's other checks."""
    return RULES | {rule.id: rule for check in result.checks if (rule := check_rule(check)).id not in RULES}


def rule_id(facts: CheckFacts) -> str:
    """The rule of a check."""
    return GENERAL if facts.rule is None else facts.rule.id


def check_rule(check: Check) -> Rule:
    """The rule of a check of a result; one that has none, or claims one of ours, has the general one."""
    facts = facts_of(check)
    if rule_id(facts) in RULES:
        own = check.id in own_checks()
        return RULES[rule_id(facts) if own else GENERAL]
    assert facts.rule is not None
    name, title, why, action = map(_shown, (facts.rule.name, facts.title, facts.rule.why, facts.rule.action))
    return Rule(facts.rule.id, name, title, why, action, facts.rule.level)


def _shown(text: str) -> str:
    """A text of another package: on one line, and without a link."""
    return plain(text, 2000).replace("](", "] (")
