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


_COMPARED = """
    data labels label_column target_column profile norm eps mask goal samples surrogates resize_surrogates stand_in
    top_scores score_decimals score_noise reject_below mean std scale domain layout channels resize crop interpolation
    clean_accuracy classes output_name decision fixed input_name device batch_size compile search_precision seed run_dir
    fresh trust_model fresh_state sandbox load_timeout call_timeout memory_limit custom_ops
""".split()  # noqa: SIM905 (a list of quoted words is a wall)
_TRAINED = """
    data labels label_column target_column profile norm eps samples time_budget stand_in mean std scale domain layout
    channels resize crop interpolation classes output_name decision fixed input_name device seed trust_model fresh_state
    sandbox load_timeout call_timeout memory_limit custom_ops
""".split()  # noqa: SIM905
ALIKE = {
    "defenses compare": _COMPARED,
    "detectors evaluate": [*_COMPARED, "defense", "false_alarms"],
    "train-purifier": _TRAINED,
}
"""Settings that other commands take just as ``scan`` does."""


def settings_of(command: str) -> list[Setting]:
    """The settings that a command takes as flags."""
    alike = ALIKE.get(command, ())
    return [each for each in SETTINGS.values() if command == "scan" or command in each.also or each.name in alike]
