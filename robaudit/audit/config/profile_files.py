"""Profiles by name or path: found, read, and put together with those that they build on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from robaudit.audit.config.attack_specs import AttackSpec
from robaudit.audit.config.gatespecs import merge_gates
from robaudit.audit.config.profile import SEARCHES, Profile
from robaudit.audit.config.specs import SetSpec
from robaudit.audit.config.yaml_file import read_settings, refuse
from robaudit.documents import Document
from robaudit.errors import UsageError
from robaudit.files import text_of
from robaudit.suggest import did_you_mean
from robaudit.threat.sets.registry import set_classes

__all__ = ["list_profiles", "load_profile", "profile_path"]

LONGEST = 20
"""Profiles of which each builds on the next."""


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
    chain = (*chain, Path(os.path.realpath(path)))
    if own.attacks_of:
        own = _with_attacks_of_others(own, path.parent, chain)
    if own.extends is None:
        return own
    base = _other(own, "extends", own.extends, path.parent, chain)
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


def _with_attacks_of_others(profile: Profile, folder: Path, chain: tuple[Path, ...]) -> Profile:
    """With the attacks of the profiles that ``attacks_of`` names, each where it is to run.

    Raises:
        UsageError: it has attacks of its own as well, or one of the others cannot be loaded.
    """
    if profile.attacks:
        raise UsageError(f"{profile.where('attacks_of')}it stands in place of attacks; give one of the two")
    attacks: list[AttackSpec] = []
    for access, name in profile.attacks_of.items():
        other = _other(profile, "attacks_of", name, folder, chain)
        attacks += [spec.model_copy(update={"when": access}) for spec in other.attacks if spec.when in (None, access)]
    changed = profile.model_copy(update={"attacks": tuple(attacks), "attacks_of": {}})
    changed._documents = profile._documents
    return changed


def _other(profile: Profile, key: str, name: str, folder: Path, chain: tuple[Path, ...]) -> Profile:
    """A profile that another one names under a key; ``chain``: the files that led to it.

    Raises:
        UsageError: there is none, it leads back to one of the chain, or it cannot be loaded.
    """
    try:
        path, _ = profile_path(name, folder)
        if Path(os.path.realpath(path)) in chain:
            names = " -> ".join(link.stem for link in (*chain, path))
            raise UsageError(f"profiles extend each other in a circle ({names})")
        if len(chain) >= LONGEST:
            raise UsageError(f"more than {LONGEST} profiles extend each other")
    except UsageError as error:
        raise UsageError(f"{profile.where(key)}{error}") from error
    return _load(path, chain)


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
