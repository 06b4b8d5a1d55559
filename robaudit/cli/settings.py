"""The flags of commands, made from the declarations of settings."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypeAlias

import typer

from robaudit.audit.config.declaring import Setting
from robaudit.audit.config.settings import settings_of
from robaudit.cli.complete import defenses, detectors, profiles, reports, starting
from robaudit.report.registry import suffixes

__all__ = ["NOTHING", "Given", "takes_settings"]

Given: TypeAlias = Mapping[str, Any]
"""Settings given as flags, by name; None: not given."""
NOTHING: Given = {}
COMPLETIONS = {"profiles": profiles, "reports": reports, "defenses": defenses, "detectors": detectors}


def takes_settings(command: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a command of a function: in place of its parameter ``given`` the command has the flags of the settings that
    ``command`` takes."""

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        declared = settings_of(command)
        parameters: list[inspect.Parameter] = []
        for own in inspect.signature(function, eval_str=True).parameters.values():
            if own.name == "given":
                parameters += [_flag(each, command) for each in declared]
            else:
                parameters.append(own.replace(kind=inspect.Parameter.KEYWORD_ONLY))

        def run(**arguments: Any) -> None:
            given = {each.name: _value(each, arguments.pop(each.name)) for each in declared}
            function(given=given, **arguments)

        run.__name__, run.__qualname__, run.__module__ = function.__name__, function.__qualname__, function.__module__
        run.__doc__ = function.__doc__
        run.__annotations__ = {each.name: each.annotation for each in parameters}
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        return run

    return decorate


def _flag(each: Setting, command: str) -> inspect.Parameter:
    """The flag of a setting, as the parser wants it."""
    more: dict[str, Any] = {} if each.least is None else {"min": each.least}
    if "/" in each.flags[0]:
        more["show_default"] = False
    option = typer.Option(
        *each.flags,
        help=_help(each, command),
        metavar=each.metavar,
        autocompletion=_completion(each),
        rich_help_panel=each.panel if command == "scan" else None,
        **more,
    )
    default = False if _is_switch(each) else each.default or None if each.alone else None  # others may come from a file
    kind = each.flag if default is not None else each.flag | None
    return inspect.Parameter(
        each.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option]
    )


def _help(each: Setting, command: str) -> str:
    return each.also.get(command, each.help).replace("{suffixes}", ", ".join(suffixes()))


def _value(each: Setting, value: Any) -> Any:
    """A flag's value; a switch that is off was not given."""
    return None if value is False and _is_switch(each) else value


def _is_switch(each: Setting) -> bool:
    """The flag can switch on alone."""
    return each.flag is bool and "/" not in each.flags[0]


def _completion(each: Setting) -> Callable[[str], list[str]] | None:
    if isinstance(each.completes, str):
        return COMPLETIONS[each.completes]
    names = list(each.completes)
    return (lambda incomplete: starting(names, incomplete)) if names else None
