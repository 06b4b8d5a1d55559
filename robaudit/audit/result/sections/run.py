"""The run, the program and the profile, as a result records them."""

# ruff: noqa: RUF012 (pydantic copies defaults)
from __future__ import annotations

from typing import Literal

from pydantic import Field, FiniteFloat

from robaudit.audit.result.sections.base import Free, Number, Section

__all__ = [
    "Environment",
    "Place",
    "ProfileRecord",
    "Run",
    "Tool",
]


class Tool(Section):
    """The program that made this result."""

    name: str = "robaudit"
    """Name of the tool."""
    version: str
    """Its version."""
    methods: int = Field(default=1, ge=1)
    """Version of what an audit does (drawing, attacks, judging): audits with another number are not compared. 1 where
    it was not recorded (before schema 1.5)."""


class Run(Section):
    """This run of the audit."""

    id: str
    """Digest of file, data, resolved profile, seed and version: the same audit has the same id."""
    seed: int
    """Seed of all random numbers."""
    started: str
    """Start, ISO 8601 with time zone."""
    finished: str
    """End, ISO 8601 with time zone."""
    seconds: FiniteFloat
    """Wall time spent, over all sessions of a resumed run."""
    command: str
    """Command that reproduces the run in the folder where it ran, as it was typed; of an audit that is shown again the
    one that showed it. Paths that lie outside of the folder are cut to names."""
    elsewhere: tuple[str, ...] = ()
    """Names in the command that stand for files outside of that folder: put their paths in their place."""
    batch_size: int | Literal["auto"]
    """Batch size asked for; the outcome does not depend on it."""
    resumed: bool = False
    """Whether a part came from the journal of an earlier, unfinished session."""
    shown_again: str | None = None
    """When this finished audit was shown again, with nothing computed anew, ISO 8601 with time zone; else null."""
    complete: bool = True
    """Whether everything planned was carried out."""
    interrupted: bool = False
    """Whether the user or the system stopped it; the journal is kept."""
    failed: str | None = None
    """Why the worker failed, or null."""
    time_budget: Number = None
    """Seconds that one session was given; null: no limit."""
    budget_spent: bool = False
    """Whether the time was over before the work was; what was not tried is told as such."""
    reproducible: bool = True
    """Whether the same command gives the same result (not where the time was over before the work was, nor of a
    file that does not answer alike each time)."""
    network: str = "nothing was sent"
    """What was sent over a network."""
    notes: tuple[str, ...] = ()
    """What happened on the way, such as a batch halved because memory ran out."""


class Place(Section):
    """A line of a file, relative to the root of the repository that the audit ran in (else the working directory)."""

    file: str
    """Path with forward slashes; of a file outside of it the name alone."""
    line: int | None = None
    """Line, from 1; null where the file as a whole is meant."""


class ProfileRecord(Section):
    """The profile after everything was resolved."""

    name: str
    """Name."""
    source: str
    """Built-in, or the path of its file."""
    sha256: str
    """Digest of the resolved profile."""
    resolved: Free
    """The resolved profile."""
    settings: Free = {}
    """Resolved settings of the run."""
    sources: dict[str, str] = {}
    """Where each setting came from."""
    places: dict[str, Place] = {}
    """Where the ``model`` lies, and the lines that asked for ``gates.METRIC``, ``attacks.ID`` and ``checks.ID``; a
    flag, a variable or a built-in profile has none."""


class Environment(Section):
    """Where it ran."""

    python: str
    """Version of Python."""
    platform: str
    """Operating system and machine."""
    device: str
    """Device that the attacks ran on."""
    judge: str
    """Runtime and provider that judged every success."""
    packages: dict[str, str] = {}
    """Versions of the packages that matter."""
    details: Free = {}
    """Processors, threads, GPU."""
