"""``robaudit explain``: what an attack, a transform, a check, a certificate or a rule of the reports means."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Annotated

import typer

from robaudit.cli.complete import checks_and_attacks

if TYPE_CHECKING:
    from robaudit.report.rules import Rule

__all__ = ["explain"]

GOAL_NOTE = """
The class is decided once for each sample, before any attack, and is never its label. A sample counts as broken when the
file answers that class (of `every`: one of them); the report's robust accuracy is then the share answered correctly and
not made to answer it. Attacks without a targeted form are skipped.
"""


def explain(
    id: Annotated[
        str | None,
        typer.Argument(
            help="An attack, transform, check, certificate, defense or mask, a rule such as RA001, loss or goal; "
            "without it, all.",
            autocompletion=checks_and_attacks,
        ),
    ] = None,
) -> None:
    """Explain an attack, a check, a rule of the reports, or the goals of an audit: what it means, why, what to do."""
    from robaudit.attacks.names import SHORT, parts
    from robaudit.attacks.registry import attack_classes, make_composed, transform_classes
    from robaudit.audit.config.goals import GOALS
    from robaudit.certificates.registry import certifier_classes
    from robaudit.checks.registry import check_classes
    from robaudit.cli.explain_attack import attack_page, defense_page, loss_page, set_page, transform_page
    from robaudit.cli.explain_check import check_page
    from robaudit.defenses.registry import defense_classes
    from robaudit.errors import UsageError
    from robaudit.report.rules import every_rule
    from robaudit.suggest import did_you_mean
    from robaudit.threat.losses import LOSSES
    from robaudit.threat.sets.registry import chosen_classes

    attacks, transforms, checks = attack_classes(), transform_classes(), check_classes()
    defenses, sets, rules = defense_classes(), chosen_classes(), every_rule()
    certifiers = certifier_classes()
    if id is None:
        for name, cls in sorted(attacks.items()):
            typer.echo(f"{name:<18}attack, {cls.access}: {_first_line(cls)}")
        for name, transform in sorted(transforms.items()):
            typer.echo(f"{name:<18}transform: {_first_line(transform)}")
        for name, check in sorted(checks.items()):
            typer.echo(f"{name:<18}check: {_first_line(check)}")
        for name, defense in sorted(defenses.items()):
            typer.echo(f"{name:<18}defense: {_first_line(defense)}")
        for name, one in sorted(sets.items()):
            typer.echo(f"{name:<18}perturbation set: {_first_line(one)}")
        for name, certifier in sorted(certifiers.items()):
            typer.echo(f"{name:<18}certificate: {_first_line(certifier)}")
        for rule in rules.values():
            typer.echo(f"{rule.id:<18}rule, {rule.level}: {rule.title}")
        typer.echo(f"{'loss':<18}what a white-box attack maximises: {', '.join(LOSSES)}")
        typer.echo(f"{'goal':<18}what an attacker may want (--goal): {', '.join(GOALS)}")
        return
    attack, *through = parts(id)
    if attack in attacks:
        if through:
            make_composed(id, {})
        typer.echo("\n\n".join([attack_page(attacks[attack]), *(transform_page(transforms[one]) for one in through)]))
    elif id in transforms:
        typer.echo(transform_page(transforms[id]))
    elif id in checks:
        typer.echo(check_page(checks[id]))
    elif id in defenses:
        typer.echo(defense_page(defenses[id]))
    elif id in sets:
        typer.echo(set_page(sets[id]))
    elif id in certifiers:
        norms = ", ".join(sorted(certifiers[id].norms))
        typer.echo(f"{id}: certificate, in {norms}\n\n{inspect.getdoc(certifiers[id])}")
        typer.echo(f"\nIn a profile: `certificates: [{id}]`; as a gate: `certified_accuracy`.")
    elif id.upper() in rules:
        _rule(rules[id.upper()])
    elif id == "loss":
        typer.echo(loss_page())
    elif id == "goal":
        typer.echo("goal: what counts as a success (--goal, `threat.goal` of a profile)\n")
        for name, meaning in GOALS.items():
            typer.echo(f"{name:<15}{meaning}")
        typer.echo("\n" + " ".join(GOAL_NOTE.split()))
    else:
        known = [*attacks, *SHORT, *transforms, *checks, *defenses, *sets, *certifiers, *rules, "loss", "goal"]
        raise UsageError(f"nothing is called {id!r}{did_you_mean(id, known)}")


def _first_line(cls: type) -> str:
    return (inspect.getdoc(cls) or "").split("\n\n")[0].replace("\n", " ")


def _rule(rule: Rule) -> None:
    from robaudit.checks.registry import check_classes
    from robaudit.report.rules import rule_id
    from robaudit.report.taxonomy import ATLAS, DISCLAIMER, MITIGATIONS, TAXONOMIES, taxonomy_of

    typer.echo(f"{rule.id}: {rule.name}, rule of SARIF and JUnit reports; level {rule.level}\n\n{rule.title}")
    typer.echo(f"\nWhy it matters: {rule.why}\n\nWhat to do: {rule.action}")
    of_check = [id for id, cls in check_classes().items() if rule_id(cls.facts) == rule.id and cls.facts.rule]
    if of_check:
        typer.echo(f"\nFound by the check {of_check[0]}; `robaudit explain {of_check[0]}` tells how.")
    if rule.taxa:
        typer.echo(f"\n{DISCLAIMER}")
        for taxon in rule.taxa:
            place, position = taxonomy_of(taxon)
            entry, taxonomy = TAXONOMIES[place].taxa[position], TAXONOMIES[place]
            typer.echo(f"  {taxonomy.name} {taxonomy.version}: {entry.words}\n    {entry.url}")
    if rule.id in ("RA010", "RA011"):
        typer.echo(f"\nMitigations that MITRE ATLAS {ATLAS} names; whether one holds is for the next audit to show.")
        for entry in MITIGATIONS:
            typer.echo(f"  {entry.words}\n    {entry.url}")
