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
            help="An attack, transform, surrogate, check, certificate, defense, detector or mask, a rule such as "
            "RA001, loss or goal; without it, all.",
            autocompletion=checks_and_attacks,
        ),
    ] = None,
) -> None:
    """Explain an attack, a check, a rule of the reports, or the goals of an audit: what it means, why, what to do."""
    from robaudit.attacks.names import SHORT, parts
    from robaudit.audit.config.goals import GOALS
    from robaudit.cli.kinds import composed_page, kinds
    from robaudit.errors import UsageError
    from robaudit.report.rules import every_rule
    from robaudit.suggest import did_you_mean
    from robaudit.threat.losses import LOSSES

    known, rules = kinds(), every_rule()
    if id is None:
        for kind in known:
            for name, cls in sorted(kind.classes.items()):
                typer.echo(f"{name:<18}{kind.word(cls)}: {_first_line(cls)}")
        for rule in rules.values():
            typer.echo(f"{rule.id:<18}rule, {rule.level}: {rule.title}")
        typer.echo(f"{'loss':<18}what a white-box attack maximises: {', '.join(LOSSES)}")
        typer.echo(f"{'goal':<18}what an attacker may want (--goal): {', '.join(GOALS)}")
        return
    head, *through = parts(id)
    found = next((kind for kind in known if head in kind.classes), None)
    if found is not None and through:
        typer.echo(composed_page(id, head, through))
    elif found is not None:
        typer.echo(found.page(found.classes[head]))
    elif id.upper() in rules:
        _rule(rules[id.upper()])
    elif id == "loss":
        typer.echo(_losses())
    elif id == "goal":
        typer.echo(_goals())
    else:
        names = [*(name for kind in known for name in kind.classes), *SHORT, *rules, "loss", "goal"]
        raise UsageError(f"nothing is called {id!r}{did_you_mean(id, names)}")


def _losses() -> str:
    from robaudit.cli.explain_attack import loss_page

    return loss_page()


def _goals() -> str:
    from robaudit.audit.config.goals import GOALS

    lines = ["goal: what counts as a success (--goal, `threat.goal` of a profile)\n"]
    lines += [f"{name:<15}{meaning}" for name, meaning in GOALS.items()]
    return "\n".join([*lines, "\n" + " ".join(GOAL_NOTE.split())])


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
