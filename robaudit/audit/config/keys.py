"""Validates settings as they are given: the keys of ``robaudit.yaml``, variables, flags, and keywords of a call."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model, field_validator
from pydantic_core import to_jsonable_python

from robaudit.audit.config import value_types
from robaudit.audit.config.declaring import Setting, hyphens
from robaudit.audit.config.goals import parse_goal
from robaudit.audit.config.profile import parse_eps
from robaudit.audit.config.settings import SETTINGS, Settings
from robaudit.audit.config.yaml_file import no_switch, refuse
from robaudit.documents import Document
from robaudit.errors import UsageError

__all__ = ["IN_RECORDS", "FileKeys", "record_of", "validated"]

IN_RECORDS = """
    data labels label_column target_column feature_ranges profile norm eps goal curve samples seed device batch_size
    compile search_precision mean std scale layout channels resize crop interpolation domain fixed input_name
    output_name decision fresh_state classes surrogates stand_in gates min_robust on_inconclusive fail_on baseline
    non_inferiority_margin sign verify until_decided time_budget clean_accuracy output run_dir
""".split()  # noqa: SIM905 (a list of quoted words is a wall)
"""The order of a result's record since its first version, which diffs of results rely on. Newer settings follow, and
are left out as long as they are as by default."""


class _Keys(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=hyphens, populate_by_name=True)
    _numbers = field_validator("*", mode="wrap")(no_switch)


def _model(name: str, settings: Iterable[Setting]) -> type[BaseModel]:
    """A model of settings, those of a map in a model of its own."""
    hints = get_type_hints(Settings, localns=vars(value_types), include_extras=True)
    fields: dict[str, Any] = {}
    maps: dict[str, dict[str, Any]] = {}
    for each in settings:
        (maps.setdefault(each.inside, {}) if each.inside else fields)[each.name] = (hints[each.name], each.default)
    for key, inner in maps.items():
        model = create_model(f"{name}{key.title()}", __base__=_Keys, **inner)
        fields[key] = (model, model())
    return create_model(name, __base__=_Keys, **fields)


FileKeys = _model("FileKeys", (each for each in SETTINGS.values() if not each.alone))
"""What a ``robaudit.yaml`` or the environment may say."""
AllKeys = _model("AllKeys", SETTINGS.values())
"""What flags or a call may say."""


def validated(given: Mapping[str, Any], where: str | Document, *, alone: bool = False) -> dict[str, Any]:
    """Values by the name of their settings, in the order of the declarations; null is not given.

    Args:
        given: nested as in a file.
        where: they stand, for the sentence that refuses one.
        alone: settings that only flags and calls may give are taken too.

    Raises:
        UsageError: an unknown key, or a value of the wrong type or out of range.
    """
    model = AllKeys if alone else FileKeys
    try:
        found = model.model_validate(given)
    except ValidationError as error:
        raise refuse(error, where, model) from error
    values: dict[str, Any] = {}
    for each in SETTINGS.values():
        holder = found.__dict__.get(each.inside) if each.inside else found
        if isinstance(holder, BaseModel) and each.name in holder.model_fields_set:
            values[each.name] = holder.__dict__[each.name]
    for name, check in (("eps", lambda text: parse_eps(text, "any")), ("goal", parse_goal)):
        try:
            if values.get(name) is not None:
                check(values[name])
        except UsageError as error:
            place = where.where((name,)) if isinstance(where, Document) else where
            raise UsageError(f"{place}: {error}") from error
    return {name: value for name, value in values.items() if value is not None}


def record_of(settings: Settings) -> dict[str, Any]:
    """Settings as JSON for the record in a result, nested as in a file; without those of one call."""
    known = [name for name in SETTINGS if not SETTINGS[name].alone and _is_told(settings, name)]
    order = sorted(known, key=lambda name: IN_RECORDS.index(name) if name in IN_RECORDS else len(IN_RECORDS))
    record: dict[str, Any] = {}
    for name in order:
        inside = SETTINGS[name].inside
        (record.setdefault(inside, {}) if inside else record)[name] = settings.__dict__[name]
    found: dict[str, Any] = to_jsonable_python(record, by_alias=False)
    return found


def _is_told(settings: Settings, name: str) -> bool:
    return name in IN_RECORDS or settings.__dict__[name] != SETTINGS[name].default
