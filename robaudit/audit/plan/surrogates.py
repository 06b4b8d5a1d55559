"""The surrogates that an audit may make: each with its recipe, or the reason why it cannot be made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from robaudit.attacks.names import numbered
from robaudit.audit.config.profile import Profile, SurrogateSpec
from robaudit.audit.plan.attacks import TargetTraits
from robaudit.errors import UsageError
from robaudit.extensions import ParameterError
from robaudit.plural import counted
from robaudit.surrogates.base import SurrogateRecipe
from robaudit.surrogates.registry import make_recipe
from robaudit.threat.model import Access

__all__ = ["PlannedSurrogate", "plan_surrogates", "validate_surrogates"]


@dataclass(frozen=True)
class PlannedSurrogate:
    """A surrogate that an audit may make.

    Args:
        name: of it: the recipe's id, with a number where another surrogate has the same.
        recipe: with its parameters.
        optional: attacks that need it are skipped where it cannot be made.
        problem: why it cannot be made; None: it can.
    """

    name: str
    recipe: SurrogateRecipe
    optional: bool
    problem: str | None

    @property
    def parameters(self) -> dict[str, Any]:
        """Resolved parameters of the recipe."""
        values: dict[str, Any] = TypeAdapter(type(self.recipe)).dump_python(self.recipe, mode="json")
        return values


def plan_surrogates(profile: Profile, target: TargetTraits) -> list[PlannedSurrogate]:
    """The surrogates that a profile names.

    Args:
        profile: names them.
        target: that they stand for.

    Raises:
        UsageError: an unknown recipe or parameter, or a value out of range.
    """
    taken = list(target.files)
    names = numbered([*taken, *(spec.id for spec in profile.surrogates)])[len(taken) :]
    found = []
    for name, spec in zip(names, profile.surrogates, strict=True):
        recipe = make_recipe(spec.id, spec.parameters)
        problem = _problem(profile, recipe, target)
        if recipe.needs_graph and target.pupil is not None and problem is None:
            try:
                recipe = recipe.with_graph(target.pupil())
            except UsageError as error:
                problem = str(error)
        found.append(PlannedSurrogate(name, recipe, spec.optional, problem))
    return found


def _problem(profile: Profile, recipe: SurrogateRecipe, target: TargetTraits) -> str | None:
    if (why := recipe.unsuited(target.classes, target.shape)) is not None:
        return why
    if recipe.access is Access.SCORES:
        hint = recipe.by_labels and f" ({recipe.by_labels} makes it of labels)"
        if profile.threat.access == "labels":
            return f"it is made from scores, and the threat model's attacker has labels alone{hint}"
        if target.no_scores is not None:
            return f"{target.no_scores}{hint}"
    if target.others is None:
        return None
    found = len(target.others(recipe.fit_samples))
    if found >= recipe.fit_needs:
        return None
    return (
        f"it is made from at least {counted(recipe.fit_needs, 'sample')} apart from the audited ones, and the data "
        f"{'hold' if found else 'hold none'}{f' {found}' if found else ''} (give more data, or audit fewer: --samples)"
    )


def validate_surrogates(profile: Profile, files: Sequence[str]) -> None:
    """Check the recipes of a profile, and the surrogates that its attacks name.

    Args:
        profile: names them.
        files: names of the surrogates from files.

    Raises:
        UsageError: an unknown recipe or parameter, a value out of range, or an attack on a surrogate that is not there.
    """
    places: list[tuple[SurrogateSpec, tuple[str | int, ...]]] = []
    places += [(spec, ("surrogates", place)) for place, spec in enumerate(profile.surrogates)]
    further = () if profile.reaction is None else profile.reaction.surrogates
    places += [(spec, ("reaction", "surrogates", place)) for place, spec in enumerate(further)]
    for spec, location in places:
        try:
            make_recipe(spec.id, spec.parameters)
        except ParameterError as error:
            raise UsageError(f"{profile.where(*location, *error.keys)}{error}") from error
        except UsageError as error:
            raise UsageError(f"{profile.where(*location)}{error}") from error
    known = numbered([*files, *(spec.id for spec in profile.surrogates)])
    for place, attack in enumerate(profile.attacks):
        for name in attack.surrogates:
            if name not in known:
                there = ", ".join(known) or "there is none"
                raise UsageError(
                    f"{profile.where('attacks', place, 'surrogates')}there is no surrogate {name!r} ({there}); give "
                    "one with --surrogate FILE or --make-surrogate RECIPE"
                )
