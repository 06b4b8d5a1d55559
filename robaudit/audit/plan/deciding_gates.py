"""Which gates decide when a sequential audit ends, and whether any does."""

from __future__ import annotations

from datetime import UTC, datetime

from robaudit.audit.config.gatespecs import GateSpec
from robaudit.audit.config.metrics import is_sequential, parse_metric
from robaudit.audit.config.request import AuditRequest
from robaudit.errors import UsageError

__all__ = ["sequential_gates", "validate_sequential"]


def sequential_gates(request: AuditRequest) -> list[GateSpec]:
    """The gates that decide when to stop: those on the share of all samples that stand, or are answered correctly.

    One that is excused today is not waited for.
    """
    other = "robust_accuracy" if request.reference == "model" else "stability"
    today = datetime.now(UTC).date()

    def decides(gate: GateSpec) -> bool:
        name = parse_metric(gate.metric).name
        applies = name != other and not (name == "clean_accuracy" and request.reference == "model")
        excused = gate.ignore is not None and today <= gate.ignore.until
        return is_sequential(gate.metric) and applies and not excused

    return [gate for gate in request.profile.gates if decides(gate)]


def validate_sequential(request: AuditRequest) -> None:
    """Refuse a sequential audit that nothing would ever stop.

    Raises:
        UsageError: there is no gate that could be decided on the way.
    """
    if request.settings.until_decided and not sequential_gates(request):
        need = "a gate on stability" if request.reference == "model" else "--min-robust, or a gate on robust_accuracy"
        raise UsageError(f"--until-decided needs a gate to decide: give {need}")
