"""The settings of an audit, each declared once.

From the declarations come the flags of the commands, the keys of ``robaudit.yaml``, the variables of the environment,
what names a run (``audit/run/identity.py``), the record in the result, and the list in the documentation. To add a
setting, declare it in one of the four classes, and use it where it counts.
"""

from __future__ import annotations

from dataclasses import dataclass

from robaudit.audit.config.declaring import Setting, declarations_of
from robaudit.audit.config.settings_of_attackers import AttackerSettings
from robaudit.audit.config.settings_of_audits import DEFAULT_PROFILE, AuditSettings
from robaudit.audit.config.settings_of_inputs import InputSettings
from robaudit.audit.config.settings_of_runs import RunSettings

__all__ = ["DEFAULT_PROFILE", "SETTINGS", "Settings", "settings_of"]


@dataclass(frozen=True)
class Settings(RunSettings, InputSettings, AttackerSettings, AuditSettings):
    """Settings of one run, resolved."""


SETTINGS: dict[str, Setting] = (
    declarations_of(AuditSettings, None)
    | declarations_of(AttackerSettings, "What an outsider gets")
    | declarations_of(InputSettings, "What the input means")
    | declarations_of(RunSettings, "How it runs")
)
"""Every setting by its name, in the order in which help lists them."""


def settings_of(command: str) -> list[Setting]:
    """The settings that a command takes as flags."""
    return [each for each in SETTINGS.values() if command == "scan" or command in each.also]
