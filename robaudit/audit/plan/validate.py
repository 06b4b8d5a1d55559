"""What refuses an audit before anything is attacked; the audit itself and its preview ask the same."""

from __future__ import annotations

from collections.abc import Sequence

from robaudit.audit.config.request import AuditRequest
from robaudit.audit.config.sets import validate_sets
from robaudit.audit.config.threats import attack_keys, single_threats
from robaudit.audit.plan.attack_names import validate_attacks
from robaudit.audit.plan.auxiliary import surrogate_files
from robaudit.audit.plan.certificates import validate_certificates
from robaudit.audit.plan.checks import validate_checks
from robaudit.audit.plan.deciding_gates import validate_sequential
from robaudit.audit.plan.fronts import validate_curve
from robaudit.audit.plan.matrix import validate_matrix
from robaudit.audit.plan.reaction import validate_reaction
from robaudit.audit.plan.secrecy import validate_secrecy
from robaudit.audit.plan.surrogates import validate_surrogates
from robaudit.audit.result.sections.target import Data, Target
from robaudit.audit.result.sections.threat import PerturbationSet
from robaudit.audit.verdict.comparable import check_loaded, check_request
from robaudit.audit.verdict.gates import Available, check_gates
from robaudit.engine.precision import Precision, check_precision
from robaudit.errors import UsageError
from robaudit.target.files.remote.endpoint import is_endpoint, read_endpoint
from robaudit.target.running.device import choose_device

__all__ = ["validate", "validate_loaded", "validate_spending"]


def validate(request: AuditRequest) -> None:
    """Refuse what the request alone shows to be wrong, before any file is loaded.

    Raises:
        UsageError: an unknown attack, parameter or gate, gates that nothing of the audit decides, a device that is not
            there or cannot search at the precision asked for, an audit that is not comparable with the baseline.
    """
    profile = request.profile
    check_precision(Precision(request.settings.search_precision), choose_device(request.settings.device))
    validate_sets(profile)
    validate_attacks(profile)
    validate_surrogates(profile, surrogate_files(request))
    validate_checks(profile)
    validate_curve(profile)
    validate_secrecy(profile)
    validate_matrix(profile)
    validate_reaction(profile)
    validate_certificates(profile)
    radii: dict[str, float] = {part.threat.norm: part.threat.radius for part in single_threats(profile)}
    audit = Available(
        attack_keys(profile),
        profile.checks,
        norms=radii,
        radii=radii,
        curve=profile.curve is not None,
        baseline=request.baseline is not None,
        certified=bool(profile.certificates),
    )
    check_gates(profile.gates, audit, places=request.places)
    if request.baseline is not None:
        check_request(request.baseline, request)
    validate_sequential(request)
    validate_spending(request)


def validate_spending(request: AuditRequest) -> None:
    """Refuse to send what costs money without a limit, and limits where nothing is sent.

    Raises:
        UsageError: one of them.
    """
    settings = request.settings
    if not is_endpoint(request.model):
        for name, value in (("--max-queries", settings.max_queries), ("--max-cost", settings.max_cost)):
            if value is not None:
                raise UsageError(f"{name} is for endpoints, and {request.model} is a file, which costs nothing to ask")
        return
    price = read_endpoint(request.model).price
    if price is None and settings.max_cost is not None:
        raise UsageError(f"--max-cost takes a price in {request.model} (price: {{amount: 0.001, per: query}})")
    if price is not None and settings.max_cost is None:
        raise UsageError(
            f"{request.model} charges {price.amount:g} {price.currency} a {price.per}; say with --max-cost what the "
            "audit may cost at most"
        )


def validate_loaded(request: AuditRequest, target: Target, data: Data, sets: Sequence[PerturbationSet] = ()) -> None:
    """Refuse what shows once model and data are loaded: that the baseline is of other ones, or that there are no
    probabilities to reject by.

    Args:
        request: what to audit.
        target: what a result will say of it, and ``data`` likewise.
        sets: the perturbation sets.

    Raises:
        UsageError: one of them.
    """
    if request.profile.threat.answers.reject_below is not None and target.head == "labels":
        raise UsageError(f"nothing can be rejected for a low probability: {target.file} returns labels only")
    if request.baseline is not None:
        check_loaded(request.baseline, request, target, data, sets)
