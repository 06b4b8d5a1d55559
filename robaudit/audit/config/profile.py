"""Profiles: a threat model, a choice of data, attacks with parameters, checks and gates, as YAML.

A profile may extend another: maps merge, ``attacks`` replace the base's, a gate replaces the base's gate
on the same metric, so that an owner's gate never drops a built-in one unseen.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from typing import Annotated, Any

from pydantic import (
    JsonValue,
    PrivateAttr,
    SerializerFunctionWrapHandler,
    WithJsonSchema,
    field_validator,
    model_serializer,
)

from robaudit.audit.config.attack_specs import AttackSpec, CurveSpec, SecrecySpec, by_name
from robaudit.audit.config.gatespecs import GateSpec, check_metric, merge_gates
from robaudit.audit.config.specs import (
    ALL,
    CHECKS_SCHEMA,
    EVERY,
    USUAL,
    DataSpec,
    RadiusSpec,
    SetSpec,
    Spec,
    ThreatSpec,
    parse_eps,
)
from robaudit.audit.config.surrogate_specs import MatrixSpec, ReactionSpec, SurrogateSpec
from robaudit.audit.result.document import Attacker
from robaudit.checks.registry import all_checks, check_class, own_checks, usual_checks
from robaudit.documents import Document
from robaudit.errors import UsageError

__all__ = [
    "AttackSpec",
    "CurveSpec",
    "DataSpec",
    "GateSpec",
    "MatrixSpec",
    "Profile",
    "RadiusSpec",
    "ReactionSpec",
    "SecrecySpec",
    "SetSpec",
    "SurrogateSpec",
    "ThreatSpec",
    "check_metric",
    "merge_gates",
    "parse_eps",
    "profile_schema",
]

SEARCHES = ("curve", "secrecy", "matrix", "reaction")
"""What is searched beside the cascade where it is asked for: true, false, or a map that says how."""


class Profile(Spec):
    """A profile of ``robaudit scan``."""

    name: str
    """Name."""
    description: str = ""
    """One sentence for ``robaudit profile list``."""
    extends: str | None = None
    """Name or path (relative to this file) of the profile that this one builds on."""
    threat: ThreatSpec = ThreatSpec()
    data: DataSpec = DataSpec()
    attacks: tuple[AttackSpec, ...] = ()
    """Attacks in the order of the cascade; a list replaces the base's."""
    attacks_of: dict[Attacker, str] = {}  # noqa: RUF012 (pydantic copies it)
    """In place of ``attacks``: profiles whose attacks run, each where that is the most that the attacker has of the
    model (white-box, scores, labels)."""
    curve: CurveSpec | None = None
    """true, or a map: search each sample's smallest distance too, for accuracy at every radius; null: do not."""
    secrecy: SecrecySpec | None = None
    """true, or a map: measure what less access costs an attacker, accuracy at every number of queries; null: do not."""
    surrogates: tuple[SurrogateSpec, ...] = ()
    """Surrogates that the audit makes where an attack needs them, beside files that are given: names of recipes, or
    maps with their parameters."""
    matrix: MatrixSpec | None = None
    """true, or a map: attack through each surrogate alone too, on every sample; null: do not."""
    reaction: ReactionSpec | None = None
    """Where checks tell that gradients are masked: a map of further attacks on what stands; false or null: none."""
    checks: Annotated[dict[str, dict[str, JsonValue]], WithJsonSchema(CHECKS_SCHEMA, mode="validation")] = {}  # noqa: RUF012 (pydantic copies it)
    """Checks by name with their settings; a list of names is taken too, and `usual`, `all` or `every` of ours."""
    certificates: dict[str, dict[str, JsonValue]] = {}  # noqa: RUF012 (pydantic copies it)
    """Certificates by name with their settings, proved for each sample; a list of names is taken too."""
    gates: tuple[GateSpec, ...] = ()
    """Gates; one on the same metric replaces the base's."""
    _documents: tuple[Document, ...] = PrivateAttr(default=())

    @field_validator("checks", mode="before")
    @classmethod
    def _checks_by_name(cls, checks: object) -> object:
        if isinstance(checks, str):
            groups: dict[str, Callable[[], Iterable[str]]]
            groups = {USUAL: usual_checks, ALL: all_checks, EVERY: own_checks}
            if checks not in groups:
                raise ValueError(f"checks are a map, a list of names, {USUAL}, {ALL} or {EVERY}, not {checks!r}")
            checks = list(groups[checks]())
        if isinstance(checks, list):
            items = [{"id": item} if isinstance(item, str) else item for item in checks]
            if not all(isinstance(item, dict) and isinstance(item.get("id"), str) for item in items):
                raise ValueError("each check is a name, or a map with an id")
            checks = {item["id"]: {k: v for k, v in item.items() if k != "id"} for item in items}
        if isinstance(checks, dict):
            try:
                for name in checks:
                    check_class(str(name))
            except UsageError as error:
                raise ValueError(str(error)) from error
            checks = {name: settings or {} for name, settings in checks.items()}
        return checks

    _names = field_validator("attacks", "surrogates", mode="before")(by_name)

    @field_validator("certificates", mode="before")
    @classmethod
    def _certificates_by_name(cls, named: object) -> object:
        if isinstance(named, list) and all(isinstance(name, str) for name in named):
            named = dict.fromkeys(named)
        return {name: given or {} for name, given in named.items()} if isinstance(named, dict) else named

    @field_validator(*SEARCHES, mode="before")
    @classmethod
    def _searched_or_not(cls, asked: object) -> object:
        return ({} if asked else None) if isinstance(asked, bool) else asked

    @model_serializer(mode="wrap")
    def _as_asked(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = dump(self)
        unasked = {name for name in SEARCHES if getattr(self, name) is None}
        unasked |= {name for name in ("certificates", "attacks_of", "surrogates") if not content.get(name)}
        return {name: value for name, value in content.items() if name not in unasked}

    def where(self, *location: str | int) -> str:
        """How a message begins that is about a place in the profile: the file and line that say it, and the keys.

        Args:
            location: keys and places that lead to it, such as ``"attacks", 0, "steps"``.
        """
        path = ".".join(map(str, location))
        for document in self._documents if location[:1] == ("checks",) else ():
            if (place := _in_list(document.content.get("checks"), location[1:2])) is not None:
                return f"{document.where(('checks', place, *location[2:]))}: {path}: "
        holder = location[: next((i for i, key in enumerate(location) if isinstance(key, int)), len(location))]
        for keys in (holder, holder[:1]):
            for document in self._documents:
                if keys in document.lines:
                    return f"{document.where(location)}: {path}: "
        return f"{path}: "

    def digest(self) -> str:
        """SHA-256 of the content, the same for every way to write it."""
        content = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()


def _in_list(checks: object, name: tuple[str | int, ...]) -> int | None:
    """Where a list of checks has one, or None."""
    items = checks if isinstance(checks, list) else []
    names = [item.get("id") if isinstance(item, dict) else item for item in items]
    return names.index(name[0]) if name and name[0] in names else None


def profile_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a profile's YAML."""
    schema = Profile.model_json_schema(mode="validation")
    schema.pop("required", None)  # the name defaults to the file's
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "robaudit profile"}
