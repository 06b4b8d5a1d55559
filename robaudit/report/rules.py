"""The rules that findings are reported under. An id is never used again for anything else, nor its meaning changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ["CHECK_RULES", "RULES", "Level", "Rule", "check_rule"]

Level: TypeAlias = Literal["error", "warning", "note"]

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
    Rule(
        "RA101",
        "CheckClean",
        "The clean accuracy is not what was declared, or no better than guessing.",
        "A wrong order of classes, range or channel order shows here first; then samples count as broken, or as "
        "standing, for no reason that an attacker has to do with.",
        "Check labels, order of classes and preprocessing: `robaudit inspect` shows them.",
        "error",
    ),
    Rule(
        "RA102",
        "CheckParity",
        "The gradient is not that of the shipped file.",
        "White-box attacks follow a twin of the file; where the twin answers differently they climb another hill, "
        "and what they leave standing says little.",
        "Trust black-box attacks alone, and report the file's operators.",
        "error",
    ),
    Rule(
        "RA103",
        "CheckDeterminism",
        "The file answers the same input differently each time.",
        "Of a random target one answer proves nothing: an adversarial example may be luck, and so may a robust one.",
        "Export the file in evaluation mode, without dropout or noise.",
        "error",
    ),
    Rule(
        "RA104",
        "CheckBatchState",
        "The answer to an input depends on the others in its batch.",
        "Such a file, often one exported in training mode, answers differently in use than in the audit; it is "
        "asked one input at a time.",
        "Export the file in evaluation mode.",
        "warning",
    ),
    Rule(
        "RA105",
        "CheckOutputHead",
        "Probabilities round to 1, which hides the gradient.",
        "A saturated softmax or sigmoid gives attacks no direction, and makes a model look more robust than it is.",
        "Export the logits instead of probabilities.",
        "warning",
    ),
    Rule(
        "RA106",
        "CheckZeroGradient",
        "Gradients vanish on part of the samples.",
        "A white-box attack without a gradient walks at random. That it breaks little is a sign of masked gradients "
        "and not of robustness.",
        "Do not trust white-box figures; look at the black-box attacks, or give a stand-in (--stand-in).",
        "error",
    ),
    Rule(
        "RA107",
        "CheckUnbounded",
        "Attacks fail even where any change is allowed.",
        "With no bound every input can be made to be answered wrongly, so that a survivor shows a blind attack.",
        "Look for masked gradients: operators without a useful derivative, saturation, noise.",
        "error",
    ),
    Rule(
        "RA108",
        "CheckBlackOverWhite",
        "A weaker attacker broke samples that a stronger one left standing.",
        "Who has gradients can do what others can, so that this is a sign of masked gradients. The worst case counts "
        "these samples all the same.",
        "Raise the budgets of black-box attacks, and look for what masks the gradient.",
        "warning",
    ),
    Rule(
        "RA109",
        "CheckEvidence",
        "Kept adversarial examples did not replay on the file.",
        "Every example is measured again and judged on the file alone before it counts. Where one fails, the audit "
        "cannot vouch for the others.",
        "Run again; report it if it persists.",
        "error",
    ),
)

RULES: dict[str, Rule] = {rule.id: rule for rule in _ALL}

CHECK_RULES: dict[str, str] = {
    "clean": "RA101",
    "parity": "RA102",
    "determinism": "RA103",
    "batch-state": "RA104",
    "output-head": "RA105",
    "zero-gradient": "RA106",
    "unbounded": "RA107",
    "black-over-white": "RA108",
    "evidence": "RA109",
}
"""The rule of each check by the check's id."""


def check_rule(check: str) -> Rule:
    """The rule of a check; one that this version does not know has the general one."""
    return RULES[CHECK_RULES.get(check, "RA100")]
