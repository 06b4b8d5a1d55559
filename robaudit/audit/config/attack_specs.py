"""The parts of a profile that name attacks: the cascade, the curve and the price of secrecy, validated."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
)

from robaudit.attacks.names import canonical
from robaudit.audit.config.specs import Spec
from robaudit.audit.config.yaml_file import no_switch
from robaudit.audit.result.document import Attacker, Goal, Norm

__all__ = ["AttackSpec", "CurveSpec", "SecrecySpec", "by_name"]


class AttackSpec(BaseModel):
    """An attack; every key that is not listed here is a parameter of it."""

    model_config = ConfigDict(frozen=True, extra="allow", use_attribute_docstrings=True)
    __pydantic_extra__: dict[str, JsonValue] = Field(init=False)

    id: str
    """Name of the attack, and after a plus sign that of each transform that its gradients are taken through:
    ``mi+di``. A transform's parameters are a map under its own name."""
    norms: tuple[Norm, ...] = ()
    """Norms in which it runs: linf, l2, l1, l0; none: every one that it serves."""
    by_norm: dict[Norm, dict[str, JsonValue]] = {}
    """Parameters that differ where the threat model has that norm: linf, l2, l1 or l0."""
    goals: tuple[Goal, ...] = ()
    """Goals for which it runs: untargeted, targeted; none: every one that it serves."""
    when: Attacker | None = None
    """Runs only where this is the most that the attacker has of the model: white-box, scores or labels."""
    if_broke: str | None = None
    """Runs only if this attack, which stands before it in the profile, broke a sample: an expensive search after a
    cheap one of its kind."""
    pilot: int | None = Field(default=None, ge=1)
    """Tries so many of the samples that stand, the nearest to falling, and the others only if a fifth of these fall: an
    expensive search that few models are worth."""
    eot: int = Field(default=1, ge=1)
    """Draws of a random model, and of the transforms, that are averaged in every gradient (expectation over
    transformation)."""
    surrogates: tuple[str, ...] = ()
    """Surrogates that it is made on, by the names of their files or recipes; none: all."""
    fusion: Literal["logits", "predictions", "losses"] = "logits"
    """What is averaged over several surrogates: logits, predictions or losses."""
    _numbers = field_validator("*", mode="wrap")(no_switch)
    _short = field_validator("id", "if_broke")(lambda name: None if name is None else canonical(name))

    def parameters(self, norm: str) -> dict[str, Any]:
        """Parameters as they were written, for a threat model in ``norm``; those of a transform are one map."""
        own = next((values for name, values in self.by_norm.items() if name == norm), {})
        return {**(self.__pydantic_extra__ or {}), **own}

    @model_serializer(mode="wrap")
    def _as_written(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = dump(self)
        defaults: dict[str, object] = {
            "norms": (),
            "by_norm": {},
            "goals": (),
            "when": None,
            "if_broke": None,
            "pilot": None,
        }
        defaults |= {"eot": 1, "surrogates": (), "fusion": "logits"}
        unsaid = {name for name, default in defaults.items() if getattr(self, name) == default}
        return {name: value for name, value in content.items() if name not in unsaid}


def by_name(attacks: object) -> object:
    """Attacks of which some are a name alone, as maps."""
    if isinstance(attacks, list):
        return [{"id": item} if isinstance(item, str) else item for item in attacks]
    return attacks


class CurveSpec(Spec):
    """How the smallest distance of every sample is searched, for the robustness curve."""

    attacks: tuple[AttackSpec, ...] = ()
    """Attacks that seek smallest distances, each on every sample; none: the usual ones of the norm."""
    search: AttackSpec | None = None
    """Attack of fixed radius that each sample's distance is bisected with; null: the usual one."""
    rounds: int = Field(default=8, ge=0)
    """Most radii tried for each sample; 0: no bisection."""

    _names = field_validator("attacks", mode="before")(by_name)


class SecrecySpec(Spec):
    """How the price of secrecy is measured: for each access a cascade of its own, on every attacked sample."""

    labels: tuple[AttackSpec, ...] | None = None
    """Attacks with labels alone, in order; null: the usual ones of the norm, none: that access is left out."""
    scores: tuple[AttackSpec, ...] | None = None
    """Attacks with scores, likewise."""
    transfer: tuple[AttackSpec, ...] | None = None
    """Attacks made on surrogates, likewise."""
    queries: int = Field(default=2000, ge=1)
    """Most queries for each sample with labels, and with scores; the attacks of an access share them equally."""

    _names = field_validator("labels", "scores", "transfer", mode="before")(by_name)
