"""Settings as each level gives them: flags, ``ROBAUDIT_*`` variables, ``robaudit.yaml``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from robaudit.audit.config.declaring import PREFIX, Read, Setting, Written, hyphens
from robaudit.audit.config.discovery import ALLOWED, beyond, read_config
from robaudit.audit.config.keys import validated
from robaudit.audit.config.profile_files import profile_path
from robaudit.audit.config.settings import SETTINGS, Settings
from robaudit.defenses.registry import rooted
from robaudit.detectors import registry as detectors
from robaudit.documents import Document
from robaudit.errors import UsageError
from robaudit.suggest import did_you_mean

__all__ = ["from_environment", "from_file", "from_flags", "settings_of_flags"]

OWN_VARIABLES = ("ROBAUDIT_INTERNAL_", "ROBAUDIT_TEST_", ALLOWED)


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Flags or variables by name, those of a map within it."""
    content: dict[str, Any] = {}
    for name, value in flat.items():
        inside = SETTINGS[name].inside if name in SETTINGS else ""
        (content.setdefault(inside, {}) if inside else content)[name] = value
    return content


def from_flags(flags: Mapping[str, Any]) -> dict[str, Any]:
    """What flags say, nested as settings are; one that was not given says nothing."""
    given = {name: value for name, value in flags.items() if value is not None and value not in ((), [])}
    return validated(_nested(given), "command line", alone=True)


def settings_of_flags(flags: Mapping[str, Any]) -> Settings:
    """Settings that flags alone give, for commands that read no file.

    Raises:
        UsageError: a value of the wrong type or out of range.
    """
    return Settings(**from_flags(flags))


def from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    """What ``ROBAUDIT_*`` variables say."""
    known = {each.environment: each for each in SETTINGS.values() if each.environment is not None}
    given: dict[str, Any] = {}
    for variable, text in environment.items():
        if not variable.startswith(PREFIX) or variable.startswith(OWN_VARIABLES):
            continue
        if variable not in known:
            raise UsageError(f"unknown environment variable {variable}{did_you_mean(variable, known)}")
        if text:
            each = known[variable]
            given[each.name] = text.split(os.pathsep) if each.paths else text
    return validated(_nested(given), "environment")


def from_file(path: Path, environment: Mapping[str, str]) -> dict[str, Any]:
    """What a ``robaudit.yaml`` says; its paths are taken from its own folder."""
    document = read_config(path, environment)
    given = validated(document.content, document)
    for name in given:
        given[name] = _from_folder(SETTINGS[name], given[name], document, path.parent)
    if "fixed" in given:
        given["fixed"] = {
            name: _absolute(text, path.parent) if text.lower().endswith((".npy", ".npz")) else text
            for name, text in given["fixed"].items()
        }
    if "defense" in given:
        given["defense"] = rooted(given["defense"], path.parent)
    if "detector" in given:
        given["detector"] = detectors.rooted(given["detector"], path.parent)
    if "profile" in given:
        try:
            found, built_in = profile_path(given["profile"], path.parent)
        except UsageError as error:
            raise UsageError(f"{document.where(('profile',))}: profile: {error}") from error
        given["profile"] = given["profile"] if built_in else str(found)
    return given


def _absolute(text: str, folder: Path) -> str:
    return str(folder / os.path.expanduser(text))


def _from_folder(each: Setting, value: Any, document: Document, folder: Path) -> Any:
    """A value of a file; of paths, from the file's folder.

    Raises:
        UsageError: a path that is written leads out of the folder.
    """
    if each.path is None or (isinstance(each.path, Read) and value in each.path.words):
        return value
    if not isinstance(value, str) and not each.paths:  # a list in place of a path
        return value
    texts = [_absolute(text, folder) for text in ([value] if isinstance(value, str) else value)]
    key = hyphens(each.name)
    for target in texts if isinstance(each.path, Written) else ():
        if beyond(target, folder):
            raise UsageError(
                f"{document.where((each.name,))}: {key}: {target} lies outside of the file's folder, where it "
                f"may not have anything written; use --{key}"
            )
    return texts[0] if isinstance(value, str) else tuple(texts)
