"""The parts of a profile that are about surrogates: those that the audit makes, and the matrix of attacks on each."""

from __future__ import annotations

from typing import Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
)

from robaudit.audit.config.attack_specs import AttackSpec, by_name
from robaudit.audit.config.specs import Spec
from robaudit.audit.config.yaml_file import no_switch
from robaudit.errors import UsageError
from robaudit.extensions import written

__all__ = ["NONE", "MatrixSpec", "ReactionSpec", "SurrogateSpec", "parse_surrogate", "surrogates_asked"]

NONE = "none"
"""In place of a recipe: none of the profile's surrogates is made."""


class SurrogateSpec(BaseModel):
    """A surrogate that the audit makes; every key that is not listed here is a parameter of its recipe."""

    model_config = ConfigDict(frozen=True, extra="allow", use_attribute_docstrings=True)
    __pydantic_extra__: dict[str, JsonValue] = Field(init=False)

    id: str
    """Name of the recipe, such as distilled, substitute or gray."""
    optional: bool = False
    """Where it cannot be made, attacks that need it are skipped; else they count as missing, and the audit as
    incomplete."""
    _numbers = field_validator("*", mode="wrap")(no_switch)

    @property
    def parameters(self) -> dict[str, Any]:
        """Parameters of the recipe, as they were written."""
        return dict(self.__pydantic_extra__ or {})

    @model_serializer(mode="wrap")
    def _as_written(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = dump(self)
        return content if self.optional else {name: value for name, value in content.items() if name != "optional"}


class MatrixSpec(Spec):
    """Each attack made on each surrogate alone, and on all together, on every sample that is answered correctly."""

    attacks: tuple[AttackSpec, ...] = ()
    """Attacks made on surrogates; none: those of the profile, or where it has none, momentum alone and with block
    shuffle and rotation."""

    _names = field_validator("attacks", mode="before")(by_name)


class ReactionSpec(Spec):
    """What an audit does where its checks tell that gradients are masked: further attacks on what stands."""

    attacks: tuple[AttackSpec, ...] = ()
    """Attacks in order; those that do not apply are skipped."""
    surrogates: tuple[SurrogateSpec, ...] = ()
    """Surrogates that are made for them, beside those of the profile, where that is possible."""

    _names = field_validator("attacks", "surrogates", mode="before")(by_name)


def parse_surrogate(text: str) -> SurrogateSpec:
    """A recipe as a flag names it: ``distilled``, or with parameters ``distilled:queries=500``, apart by commas.

    Raises:
        UsageError: it is written otherwise.
    """
    id, parameters = written(text, "a surrogate to make is written as distilled or distilled:queries=500")
    return SurrogateSpec.model_validate({"id": id, **parameters})


def surrogates_asked(texts: tuple[str, ...], profile: tuple[SurrogateSpec, ...]) -> tuple[SurrogateSpec, ...]:
    """The surrogates to make: the profile's, and those that flags name, each of which replaces one of the same recipe.

    Raises:
        UsageError: as :func:`parse_surrogate`, or ``none`` beside others.
    """
    if NONE in texts:
        if len(texts) > 1:
            raise UsageError(f"{NONE} stands for no surrogate to make, and {len(texts) - 1} more were named")
        return ()
    named = tuple(map(parse_surrogate, texts))
    ids = {spec.id for spec in named}
    return (*(spec for spec in profile if spec.id not in ids), *named)
