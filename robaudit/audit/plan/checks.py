"""Profile -> checks, with their settings."""

from __future__ import annotations

from robaudit.audit.config.profile import Profile
from robaudit.checks.registry import make_check
from robaudit.errors import UsageError
from robaudit.extensions import ParameterError

__all__ = ["validate_checks"]


def validate_checks(profile: Profile) -> None:
    """Check every check's settings.

    Raises:
        UsageError: unknown setting, or a value out of range: the file and line, and the key.
    """
    for name, settings in profile.checks.items():
        try:
            make_check(name, settings)
        except ParameterError as error:
            raise UsageError(f"{profile.where('checks', name, error.parameter)}{error}") from error
        except UsageError as error:
            raise UsageError(f"{profile.where('checks', name)}{error}") from error
