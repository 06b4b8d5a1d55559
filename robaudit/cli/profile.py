"""``robaudit profile``: list, show, validate, schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from robaudit.cli.complete import profiles
from robaudit.plural import counted

if TYPE_CHECKING:
    from robaudit.audit.config.profile import Profile

__all__ = ["app"]

app = typer.Typer(help="Audit profiles: list, show, validate, schema.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="quick, ci, standard, or a YAML file.", autocompletion=profiles)]
Names = Annotated[list[str], typer.Argument(help="Names, or YAML files; robaudit.yaml too.", autocompletion=profiles)]


@app.command("list")
def _list() -> None:
    """The built-in profiles, a line each."""
    from robaudit.audit.config.profile_files import list_profiles

    profiles = list_profiles()
    width = max(map(len, profiles)) + 2
    for name, description in profiles.items():
        typer.echo(f"{name:<{width}}{description}")


@app.command("show")
def _show(name: Name) -> None:
    """A profile after `extends` was resolved, as YAML."""
    import yaml

    from robaudit.audit.config.profile_files import load_profile
    from robaudit.printable import is_printable

    content = load_profile(name).model_dump(mode="json")
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    if not all(map(is_printable, text.splitlines())):
        text = yaml.safe_dump(content, sort_keys=False, allow_unicode=False)  # escaped, so that it reads back the same
    typer.echo(text, nl=False)


@app.command("validate")
def _validate(names: Names) -> None:
    """Check profiles and `robaudit.yaml`, their attacks, parameters and gates; exit 2 with one sentence for each fault.

    Needs no PyTorch.
    """
    from robaudit.cli.declarations import without_torch
    from robaudit.errors import UsageError
    from robaudit.report.words import plain

    without_torch()
    wrong: list[UsageError] = []
    for name in names:
        try:
            profile = _checked(name)
            attacks, checks = counted(len(profile.attacks), "attack"), counted(len(profile.checks), "check")
            typer.echo(f"{plain(name)}: valid, {attacks}, {checks}")
        except UsageError as error:
            wrong.append(error if name in str(error) else UsageError(f"{name}: {error}"))
    for earlier in wrong[:-1]:
        typer.echo(f"robaudit: error: {plain(earlier, 2000)}", err=True)
    if wrong:
        raise wrong[-1]


def _checked(name: str) -> Profile:
    """A profile, or the one that a ``robaudit.yaml`` asks for, with all that a scan refuses before it loads a model."""
    from robaudit.audit.config.profile_files import load_profile
    from robaudit.audit.config.resolve import CONFIG_NAME, resolve_settings
    from robaudit.audit.config.sets import validate_sets
    from robaudit.audit.config.threats import attack_keys, single_threats
    from robaudit.audit.plan.attack_names import validate_attacks
    from robaudit.audit.plan.checks import validate_checks
    from robaudit.audit.plan.fronts import validate_curve
    from robaudit.audit.plan.matrix import validate_matrix
    from robaudit.audit.plan.reaction import validate_reaction
    from robaudit.audit.plan.secrecy import validate_secrecy
    from robaudit.audit.verdict.gates import Available, check_gates
    from robaudit.errors import UsageError

    searched = True
    path = Path(name)
    if path.name == CONFIG_NAME:
        if not path.is_file():
            raise UsageError(f"there is no file {name}")
        resolved = resolve_settings({}, {}, path.with_name("model"))
        profile = resolved.profile
        # what flags may still add is not asked for here
        searched = profile.curve is not None or resolved.settings.curve is None
    else:
        profile = load_profile(name)
    validate_sets(profile)
    validate_attacks(profile)
    validate_checks(profile)
    validate_curve(profile)
    validate_secrecy(profile)
    validate_matrix(profile)
    validate_reaction(profile)
    radii: dict[str, float] = {part.threat.norm: part.threat.radius for part in single_threats(profile)}
    check_gates(
        profile.gates, Available(attack_keys(profile), profile.checks, norms=radii, radii=radii, curve=searched)
    )
    return profile


@app.command("schema")
def _schema() -> None:
    """JSON Schema of profiles."""
    from robaudit.audit.config.profile import profile_schema

    typer.echo(json.dumps(profile_schema(), indent=2))
