"""The result of an audit: one versioned, documented model; every report is rendered from it alone.

``Result.model_json_schema()`` documents every field. Floats are finite or null, so that any JSON parser reads
it. Models are frozen; change one with ``model_copy(update={...})``.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, PrivateAttr

from robaudit.audit.result.sections.base import (
    INCOMPLETE_STATUSES,
    NORMS,
    Access,
    Attacker,
    GateStatus,
    Goal,
    Norm,
    Section,
)
from robaudit.audit.result.sections.certified import Certificate, Certified, Proved
from robaudit.audit.result.sections.chances import Chances, Survival
from robaudit.audit.result.sections.comparison import (
    Baseline,
    ChangedSample,
    Comparison,
    PairedChange,
)
from robaudit.audit.result.sections.curve import Curve, CurvePoint
from robaudit.audit.result.sections.findings import (
    Attack,
    AuditFailure,
    Check,
    Clean,
    Evidence,
    Fit,
    Pairs,
    PlugInCheck,
    PlugInRule,
    WorstCase,
)
from robaudit.audit.result.sections.gates import EarlierTests, Exemption, Gate
from robaudit.audit.result.sections.masking import HiddenAt, Masking
from robaudit.audit.result.sections.queries import Queried, Served, Spent
from robaudit.audit.result.sections.run import Environment, Place, ProfileRecord, Run, Tool
from robaudit.audit.result.sections.samples import Drawn, Nearest, Sample, SampleBreach
from robaudit.audit.result.sections.secrecy import AccessCurve, Price, QueryPoint, Secrecy
from robaudit.audit.result.sections.sequential import Look, LookGate, Sequential
from robaudit.audit.result.sections.target import (
    Data,
    Defended,
    DefensePart,
    Detecting,
    Feature,
    Gradient,
    InputSpec,
    Output,
    Reading,
    Target,
)
from robaudit.audit.result.sections.threat import PerturbationSet, Radius, Threat, ThreatOutcome
from robaudit.audit.result.sections.transfer import Gain, Matrix, MatrixCell, Surrogate, Transfer
from robaudit.audit.result.sections.verdict import Verdict, VerdictStatus
from robaudit.printable import json_text
from robaudit.stats.rates import Rate

__all__ = [
    "INCOMPLETE_STATUSES",
    "NORMS",
    "OLDEST_READ",
    "SCHEMA_VERSION",
    "Access",
    "AccessCurve",
    "Attack",
    "Attacker",
    "AuditFailure",
    "Baseline",
    "Certificate",
    "Certified",
    "Chances",
    "ChangedSample",
    "Check",
    "Clean",
    "Comparison",
    "Curve",
    "CurvePoint",
    "Data",
    "Defended",
    "DefensePart",
    "Detecting",
    "Drawn",
    "EarlierTests",
    "Environment",
    "Evidence",
    "Exemption",
    "Feature",
    "Fit",
    "Gain",
    "Gate",
    "GateStatus",
    "Goal",
    "Gradient",
    "HiddenAt",
    "InputSpec",
    "Look",
    "LookGate",
    "Masking",
    "Matrix",
    "MatrixCell",
    "Nearest",
    "Norm",
    "Output",
    "PairedChange",
    "Pairs",
    "PerturbationSet",
    "Place",
    "PlugInCheck",
    "PlugInRule",
    "Price",
    "ProfileRecord",
    "Proved",
    "Queried",
    "QueryPoint",
    "Radius",
    "Rate",
    "Reading",
    "Result",
    "Run",
    "Sample",
    "SampleBreach",
    "Secrecy",
    "Section",
    "Sequential",
    "Served",
    "Spent",
    "Surrogate",
    "Survival",
    "Target",
    "Threat",
    "ThreatOutcome",
    "Tool",
    "Transfer",
    "Verdict",
    "VerdictStatus",
    "WorstCase",
    "content_digest",
    "result_schema",
]

SCHEMA_VERSION = "1.10"
"""Major and minor. A minor only adds fields that have a default; results of older minors of the same major are read."""
OLDEST_READ = "1.4"
"""The oldest version that is read: the first that is promised."""
ON_REQUEST = (
    *("defense", "detector", "fits", "curves", "secrecy", "transfer", "threats", "certified", "comparison"),
    *("sequential", "earlier", "chances", "masking"),
)
"""Sections that are left out where nobody asked for them."""


def _same_version(version: str) -> str:
    if version != SCHEMA_VERSION:
        raise ValueError(f"schema version {version} is not {SCHEMA_VERSION}")
    return version


class Result(Section):
    """A robaudit result."""

    schema_version: Annotated[str, AfterValidator(_same_version)] = SCHEMA_VERSION
    """Version of this schema."""
    tool: Tool
    run: Run
    verdict: Verdict
    target: Target
    defense: Defended | None = None
    """What stands in front of the file; left out where nothing does."""
    detector: Detecting | None = None
    """What stands beside the file and rejects inputs; left out where nothing does."""
    data: Data
    threat_model: Threat
    profile: ProfileRecord
    environment: Environment
    clean: Clean
    worst_case: WorstCase
    attacks: tuple[Attack, ...] = ()
    """All planned attacks in the order of the cascade, then those of the curve, those for the price of secrecy, and
    those of the matrix of surrogates."""
    fits: tuple[Fit, ...] = ()
    """The fits of those attacks that fit an artefact first; left out where there is none."""
    curves: tuple[Curve, ...] = ()
    """Accuracy at every radius; left out where no curve was asked for."""
    secrecy: tuple[Secrecy, ...] = ()
    """Accuracy against queries for each access, a norm each; left out where none had a cascade of its own."""
    transfer: Transfer | None = None
    """The surrogates, and what attacks made on each fooled; null where there is none."""
    sequential: Sequential | None = None
    """How a sequential audit came to its end; left out where the number of samples was fixed."""
    chances: Chances | None = None
    """Of a random model, the mean chance that a sample survives tries; left out where the model is not random."""
    threats: tuple[ThreatOutcome, ...] = ()
    """Each of several threat models by itself; the worst case is their union. Left out where there is one alone."""
    certified: Certified | None = None
    """What is proved; left out where no certificate was asked for."""
    checks: tuple[Check, ...] = ()
    """All checks."""
    masking: Masking | None = None
    """Where checks told that gradients are masked, and the audit reacted; left out where they did not."""
    earlier: tuple[EarlierTests, ...] = ()
    """Earlier tests of the same model on the same data, which its gates allow for; left out where none is known."""
    gates: tuple[Gate, ...] = ()
    """All gates."""
    comparison: Comparison | None = None
    """Against a baseline; left out where none was given."""
    evidence: Evidence = Evidence()
    limitations: tuple[str, ...] = ()
    """What was not tested, and what the figures do not say."""
    errors: tuple[AuditFailure, ...] = ()
    """Everything that went wrong."""
    samples: tuple[Sample, ...] = ()
    """One entry a drawn sample, in data order."""
    digest: str | None = None
    """SHA-256 of everything else: a guard against accidents, such as a truncated copy or an editor's slip. Who can edit
    the file can write a new one, so that it proves nothing of who wrote it; a signature does. In a file always; see
    :func:`content_digest`."""

    _run_directory: Path | None = PrivateAttr(default=None)

    @property
    def run_directory(self) -> Path | None:
        """The folder with the journal, the evidence and this result, where :func:`robaudit.audit` or
        :func:`robaudit.load_result` found it; else None. No part of the result, and not in its JSON."""
        return self._run_directory

    @property
    def exit_code(self) -> int:
        """What the command line would exit with: 0 no gate failed, 1 one did, 3 incomplete or invalid, 4 undecided."""
        return self.verdict.exit_code

    @property
    def clean_accuracy(self) -> Rate | None:
        """Share of the samples that are answered correctly without an attack; None in stability mode."""
        return self.clean.accuracy

    @property
    def robust_accuracy(self) -> Rate | None:
        """Share of the samples that are answered correctly, and that no attack broke: an upper bound on the truth.
        None where the headline is withheld or not final, or the metric is stability: ``verdict`` says why."""
        return self.worst_case.robust_accuracy

    @property
    def broken(self) -> tuple[Sample, ...]:
        """The samples that an attack broke, in data order."""
        return tuple(sample for sample in self.samples if sample.broken_by is not None)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Result) and self.__dict__ == other.__dict__  # wherever each was found

    def __repr__(self) -> str:
        return f"<Result {self.verdict.word}, exit code {self.exit_code}: {self.verdict.headline}>"

    __str__ = __repr__

    def found_in(self, folder: Path) -> Result:
        """The same result, which knows its run directory."""
        found = self.model_copy()
        found._run_directory = folder
        return found

    def to_json(self) -> str:
        """The result as JSON text, indented by 2, ended by a newline."""
        content = self.model_dump(mode="json")
        for name in ON_REQUEST:
            if not content[name]:
                del content[name]
        if not self.threat_model.sets:
            del content["threat_model"]["sets"]
        for sample in content["samples"]:
            for name in ("certified", "prices", "spent", "draws"):
                if not sample[name]:
                    del sample[name]
        content["digest"] = content_digest(content)
        return json_text(content)


def content_digest(content: dict[str, Any]) -> str:
    """SHA-256 of a result's JSON without its digest: keys sorted, no spaces, ASCII; 1.0 is written as 1."""
    rest = _canonical({name: value for name, value in content.items() if name != "digest"})
    return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _canonical(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _canonical(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def result_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of what :meth:`Result.to_json` writes."""
    schema = Result.model_json_schema(mode="serialization")
    schema["required"] = [name for name in schema["required"] if name not in ON_REQUEST]
    threat = schema["$defs"]["Threat"]
    threat["required"] = [name for name in threat["required"] if name != "sets"]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "robaudit result"}
