"""Profiles: a threat model, a choice of data, attacks with parameters, checks and gates, as YAML.

A profile may extend another: maps merge, ``attacks`` replace the base's, a gate replaces the base's gate
on the same metric, so that an owner's gate never drops a built-in one unseen.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    JsonValue,
    PrivateAttr,
    SerializerFunctionWrapHandler,
    ValidationError,
    WithJsonSchema,
    field_validator,
    model_serializer,
)

from robaudit.audit.config.gatespecs import GateSpec, check_metric, merge_gates
from robaudit.audit.config.specs import (
    CHECKS_SCHEMA,
    USUAL,
    AttackSpec,
    CurveSpec,
    DataSpec,
    RadiusSpec,
    SecrecySpec,
    SetSpec,
    Spec,
    ThreatSpec,
    by_name,
    parse_eps,
)
from robaudit.audit.config.yaml_file import read_settings, refuse
from robaudit.checks.registry import check_class, usual_checks
from robaudit.documents import Document
from robaudit.errors import UsageError
from robaudit.files import text_of
from robaudit.suggest import did_you_mean
from robaudit.threat.sets.registry import set_classes

__all__ = [
    "AttackSpec",
    "CurveSpec",
    "DataSpec",
    "GateSpec",
    "Profile",
    "RadiusSpec",
    "SecrecySpec",
    "SetSpec",
    "ThreatSpec",
    "check_metric",
    "list_profiles",
    "load_profile",
    "merge_gates",
    "parse_eps",
    "profile_path",
    "profile_schema",
]

LONGEST = 20
"""Profiles of which each extends the next."""
SEARCHES = ("curve", "secrecy")
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
    curve: CurveSpec | None = None
    """true, or a map: search each sample's smallest distance too, for accuracy at every radius; null: do not."""
    secrecy: SecrecySpec | None = None
    """true, or a map: measure what less access costs an attacker, accuracy at every number of queries; null: do not."""
    checks: Annotated[dict[str, dict[str, JsonValue]], WithJsonSchema(CHECKS_SCHEMA, mode="validation")] = {}  # noqa: RUF012 (pydantic copies it)
    """Checks by name with their settings; a list of names is taken too, and `usual`: all of robaudit's own."""
    certificates: dict[str, dict[str, JsonValue]] = {}  # noqa: RUF012 (pydantic copies it)
    """Certificates by name with their settings, proved for each sample; a list of names is taken too."""
    gates: tuple[GateSpec, ...] = ()
    """Gates; one on the same metric replaces the base's."""
    _documents: tuple[Document, ...] = PrivateAttr(default=())

    @field_validator("checks", mode="before")
    @classmethod
    def _checks_by_name(cls, checks: object) -> object:
        if isinstance(checks, str):
            if checks != USUAL:
                raise ValueError(f"checks are a map, a list of names, or {USUAL}, not {checks!r}")
            checks = usual_checks()
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

    _names = field_validator("attacks", mode="before")(by_name)

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
        unasked |= set() if self.certificates else {"certificates"}
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


def _folder() -> Path:
    """Where the built-in profiles lie: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parents[2]
    shipped = package / "profiles"
    return shipped if shipped.is_dir() else package.parent / "profiles"


def _built_in() -> dict[str, Path]:
    return {path.stem: path for path in sorted(_folder().glob("*.yaml"))}


def list_profiles() -> dict[str, str]:
    """Built-in profiles: description by name."""
    return {name: load_profile(name).description for name in _built_in()}


def profile_path(name_or_path: str, base: Path | None = None) -> tuple[Path, bool]:
    """The file of a profile, and whether it is built in.

    Args:
        name_or_path: a built-in name, or a path (with a separator or a YAML suffix).
        base: folder that relative paths start from; default the working directory.

    Raises:
        UsageError: no such profile.
    """
    built_in = _built_in()
    if name_or_path in built_in:
        return built_in[name_or_path], True
    path = (base or Path()) / name_or_path
    if path.exists():  # reading it says if it is something else than a file
        return path, False
    if path.suffix in (".yaml", ".yml") or path.name != name_or_path:
        raise UsageError(f"the profile file {str(path)!r} does not exist")
    raise UsageError(f"unknown profile {name_or_path!r}{did_you_mean(name_or_path, built_in)}")


def _merge(base: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in extra.items():
        mine = merged.get(key)
        merged[key] = _merge(mine, value) if isinstance(mine, dict) and isinstance(value, dict) else value
    return merged


def _validated(content: dict[str, Any], where: str | Document) -> Profile:
    try:
        return Profile.model_validate(content)
    except ValidationError as error:
        raise refuse(error, where, Profile) from error


def _load(path: Path, chain: tuple[Path, ...]) -> Profile:
    document = read_settings(path)
    content = {"name": text_of(path.stem), **document.content}
    own = _anchored(_validated(content, document), path.parent)
    own._documents = (document,)
    if own.extends is None:
        return own
    chain = (*chain, Path(os.path.realpath(path)))
    try:
        base_path, _ = profile_path(own.extends, path.parent)
        if Path(os.path.realpath(base_path)) in chain:
            names = " -> ".join(link.stem for link in (*chain, base_path))
            raise UsageError(f"profiles extend each other in a circle ({names})")
        if len(chain) >= LONGEST:
            raise UsageError(f"more than {LONGEST} profiles extend each other")
    except UsageError as error:
        raise UsageError(f"{document.where(('extends',))}: extends: {error}") from error
    base = _load(base_path, chain)
    norm = content.get("threat", {}).get("norm", base.threat.norm)
    if norm != base.threat.norm and "eps" not in content["threat"]:
        raise UsageError(
            f"{own.where('threat', 'norm')}it differs from that of {own.extends!r}, so threat.eps must be given"
        )
    layer = own.model_dump(mode="json", exclude_unset=True)
    layer |= {name: None for name in SEARCHES if name in own.model_fields_set and getattr(own, name) is None}
    merged = _merge(base.model_dump(mode="json"), layer)
    merged["gates"] = [gate.model_dump() for gate in merge_gates(base.gates, own.gates)]
    profile = _validated(merged, str(path))
    profile._documents = (document, *base._documents)
    return profile


def _anchored(profile: Profile, folder: Path) -> Profile:
    """With the files of its perturbation sets as paths from the profile's folder.

    Raises:
        UsageError: an installed package's set cannot be used.
    """
    if not profile.threat.sets:
        return profile
    classes, anchored = set_classes(), []
    for spec in profile.threat.sets:
        names = classes[spec.id].files if spec.id in classes else ()
        held = {k: v for k, v in spec.parameters.items() if k in names and isinstance(v, str)}
        moved = {k: str(folder / os.path.expanduser(v)) for k, v in held.items()}
        anchored.append(SetSpec.model_validate({"id": spec.id, **spec.parameters, **moved}))
    threat = profile.threat.model_copy(update={"sets": tuple(anchored)})
    return profile.model_copy(update={"threat": threat})


def load_profile(name_or_path: str, base: Path | None = None) -> Profile:
    """A profile with everything that it extends.

    Args:
        name_or_path: a built-in name, or the path of a YAML file.
        base: folder that a relative path starts from; default the working directory.

    Raises:
        UsageError: no such profile, or its content is refused: the file, the key, and a suggestion.
    """
    path, _ = profile_path(name_or_path, base)
    return _load(path, ())


def profile_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a profile's YAML."""
    schema = Profile.model_json_schema(mode="validation")
    schema.pop("required", None)  # the name defaults to the file's
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "robaudit profile"}
