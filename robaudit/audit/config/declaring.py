"""How a setting is declared: once, with all that the tool does with it.

Imports nothing heavy, so that help and completion stay quick.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from robaudit.audit.config.request import AuditRequest

__all__ = [
    "ALWAYS",
    "AS_IN_SCAN",
    "GATES",
    "LIMIT",
    "ONE_CALL",
    "PREFIX",
    "PROFILE",
    "SIGNED",
    "Apart",
    "Identity",
    "Part",
    "Read",
    "Setting",
    "Through",
    "Written",
    "declarations_of",
    "hyphens",
    "setting",
]

PREFIX = "ROBAUDIT_"
"""Of the variables."""
ALWAYS = object()
"""No value keeps a part out of the identity."""
AS_IN_SCAN = "As in scan."
SIGNED = (
    "Refuse a result that is not signed by this Ed25519 public key. Default: ROBAUDIT_VERIFY, then `verify` in the "
    "nearest robaudit.yaml."
)
"""Help of the flag with the public key, of commands that read a result."""


def hyphens(name: str) -> str:
    """A key as it is written in files and flags."""
    return name.replace("_", "-")


@dataclass(frozen=True)
class Part:
    """An entry of the digest that names a run: another value is another run.

    Args:
        label: of the entry.
        of: takes the value out of the request; None: the setting's own value.
        read: ``value``: as it is; ``file``: content of a file, listing of a folder; ``model``: content of a model and
            of what is read with it; ``inputs``: a map of values, of which those that are files count by content.
        within: key or position where several settings share an entry.
        unless: a value that leaves no entry. New settings name their default here, so that earlier runs are found.
    """

    label: str
    of: Callable[[AuditRequest], Any] | None = None
    read: Literal["value", "file", "model", "inputs"] = "value"
    within: str | int | None = None
    unless: Any = ALWAYS


@dataclass(frozen=True)
class Through:
    """The setting enters the identity within something that enters it whole."""

    what: Literal["profile", "gates"]


@dataclass(frozen=True)
class Apart:
    """The setting does not name the run: the same run goes on whatever its value.

    Args:
        why: that is right, as a clause.
    """

    why: str


Identity: TypeAlias = Part | tuple[Part, ...] | Through | Apart
PROFILE = Through("profile")
"""Part of the resolved profile."""
GATES = Through("gates")
"""Gates name a run only where they decide how many samples are audited (``until_decided``)."""


@dataclass(frozen=True)
class Read:
    """A path that the audit reads.

    Args:
        called: what lies there, for a sentence.
        words: texts that are no path.
    """

    called: str
    words: tuple[str, ...] = ()


@dataclass(frozen=True)
class Written:
    """A path that the audit writes; named in a file, it stays in the file's folder, for the file may come with a model
    from anywhere."""


LIMIT = "it lifts what keeps a model in"
ONE_CALL = "it is about one call"


@dataclass(frozen=True)
class Setting:
    """One setting.

    Args:
        flag: type of the flag's value; ``list[...]`` where the flag may be repeated.
        help: of the flag.
        identity: how it enters what names a run.
        meaning: for the list of settings, where it says more than ``help``.
        flags: names on the command line; those with ``/`` switch on and off.
        also: other commands than ``scan`` that take the flag, and their help.
        metavar: of the flag's value.
        least: least value of the flag, where the command line checks it.
        completes: names that the shell offers, or what they are the names of.
        inside: key of the map that holds it in a file.
        path: whether it is a path to read or to write; in a file it starts at the file's folder.
        alone: why it is a flag alone, which no file and no variable can set; empty: it is not.
        variable: whether a variable of the environment sets it.
        panel: heading of the help.
        name: of the field.
        default: of the field.
    """

    flag: Any
    help: str
    identity: Identity
    meaning: str = ""
    flags: tuple[str, ...] = ()
    also: Mapping[str, str] = field(default_factory=dict)
    metavar: str | None = None
    least: float | None = None
    completes: tuple[str, ...] | Literal["profiles", "reports", "defenses", "detectors"] = ()
    inside: str = ""
    path: Read | Written | None = None
    alone: str = ""
    variable: bool = True
    panel: str | None = None
    name: str = ""
    default: Any = None

    @property
    def several(self) -> bool:
        """The flag may be repeated."""
        return self.flag in (list[str], list)

    @property
    def paths(self) -> bool:
        """The value is a list of paths, which stand as in PATH in a variable."""
        return self.path is not None and isinstance(self.default, tuple)

    @property
    def option(self) -> str:
        """The flag in a sentence."""
        return next(name for name in self.flags if name.startswith("--")).split("/")[0]

    @property
    def environment(self) -> str | None:
        """The variable."""
        return None if self.alone or not self.variable else PREFIX + self.name.upper()

    @property
    def origin_key(self) -> str:
        """Its name among the origins of a run's settings."""
        return f"{self.inside}.{self.name}" if self.inside else self.name

    @property
    def parts(self) -> tuple[Part, ...]:
        """Its own entries of the identity."""
        if isinstance(self.identity, Part):
            return (self.identity,)
        return self.identity if isinstance(self.identity, tuple) else ()


def setting(default: Any, flag: Any, *, help: str, identity: Identity, **more: Any) -> Any:
    """A field of a class of settings; ``more``: see :class:`Setting`."""
    return dataclasses.field(default=default, metadata={"setting": Setting(flag, help, identity, **more)})


def declarations_of(cls: Any, panel: str | None) -> dict[str, Setting]:
    """The settings that a class declares, by name, in order."""
    found = {}
    for item in dataclasses.fields(cls):
        declared: Setting = item.metadata["setting"]
        found[item.name] = dataclasses.replace(
            declared,
            name=item.name,
            default=item.default,
            flags=declared.flags or (f"--{hyphens(item.name)}",),
            panel=panel,
        )
    return found
