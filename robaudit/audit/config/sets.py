"""The perturbation sets of a profile: checked, and fitted to an input."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from robaudit.audit.config.profile import Profile
from robaudit.audit.config.threats import single_threats
from robaudit.errors import UsageError
from robaudit.target.inputs.meaning import InputMeaning
from robaudit.threat.sets.base import PerturbationSet
from robaudit.threat.sets.features import FixedFeatures
from robaudit.threat.sets.registry import make_set

__all__ = ["declared_files", "declared_sets", "fitted_sets", "inherent_sets", "validate_sets"]


def declared_sets(profile: Profile) -> list[PerturbationSet]:
    """The sets that a profile names, not fitted to an input yet.

    Raises:
        UsageError: an unknown set or parameter, or a value out of range: the file and line, and the key.
    """
    found = []
    for place, spec in enumerate(profile.threat.sets):
        try:
            found.append(make_set(spec.id, spec.parameters))
        except UsageError as error:
            raise UsageError(f"{profile.where('threat', 'sets', place)}{error}") from error
    return found


def validate_sets(profile: Profile) -> None:
    """Check the sets of a profile by themselves, and with its balls; their files are read when a model is loaded.

    Raises:
        UsageError: as :func:`declared_sets`, one comes twice, or cannot be joined with a ball of the profile.
    """
    declared = declared_sets(profile)
    for place, one in enumerate(declared):
        where = profile.where("threat", "sets", place)
        if any(one.id == other.id for other in declared[:place]):
            raise UsageError(f"{where}the perturbation set {one.id!r} is given twice")
        for part in single_threats(profile):
            if part.threat.norm not in one.norms:
                known = ", ".join(sorted(one.norms))
                raise UsageError(
                    f"{where}{one.id} can be joined with {known}, and the threat model is {part.threat.norm}"
                )


def declared_files(profile: Profile) -> Iterator[tuple[PerturbationSet, list[Path]]]:
    """Each set that a profile names, with the files that it is read from.

    Raises:
        UsageError: as :func:`declared_sets`; a file is missing, or no ordinary one.
    """
    for one in declared_sets(profile):
        paths = [Path(str(getattr(one, name))) for name in one.files]
        for path in paths:
            if not path.is_file():
                raise UsageError(f"the {one.id} {path} is no file" if path.exists() else f"there is no {one.id} {path}")
        yield one, paths


def fitted_sets(profile: Profile, meaning: InputMeaning) -> tuple[PerturbationSet, ...]:
    """The sets of a profile for an input, with what their files hold.

    Raises:
        UsageError: one does not suit the input, its file cannot be used, or nothing is left that may change.
    """
    found = tuple(one.fitted(meaning) for one in declared_sets(profile))
    still = [mask for one in (*found, *inherent_sets(meaning)) if (mask := one.fixed(meaning.shape)) is not None]
    if found and still and sum(still[1:], start=still[0]).all():
        raise UsageError("the perturbation sets leave nothing to attack: together they keep every feature as it is")
    return found


def inherent_sets(meaning: InputMeaning) -> tuple[PerturbationSet, ...]:
    """The sets that belong to an input: immutable and constant features of a table."""
    return (FixedFeatures(meaning.fixed),) if meaning.fixed else ()
