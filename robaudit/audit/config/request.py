"""What an audit is asked to do, resolved from flags, environment, file and profile; picklable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from robaudit.audit.config.profile import Profile
from robaudit.audit.config.settings import Settings
from robaudit.audit.process.sandbox import Mode
from robaudit.audit.result.document import EarlierTests, Result
from robaudit.audit.result.sections.run import Place
from robaudit.target.reading.interface import Interface

__all__ = ["AuditRequest"]


@dataclass(frozen=True)
class AuditRequest:
    """One audit.

    Args:
        model: the file under audit.
        profile: resolved; its threat model, sample count, attacks, checks and gates are final.
        data: folder or array file; None: bundled images in stability mode.
        labels: CSV of labels for a flat folder.
        feature_ranges: file with the range of each feature.
        reference: ``model``: the model's own answers are the reference.
        classes: declared class names.
        surrogates: model files for transfer attacks.
        input_values: what the user declared about the input, by field, and ``input_sources`` where.
        interface: what the user declared about inputs and outputs.
        batch_size: rows of one model call; None measures it.
        time_budget: seconds after which one session begins nothing new; None: no limit.
        sandbox: whether to audit without network, and without write access outside of the run directory.
        custom_ops: libraries of custom operators for ONNX Runtime; their code runs.
        eps_default: nobody chose ε.
        settings: all that was set. What counts as it was set is read from them alone; the other fields hold what was
            found or worked out from the rest. ``sources``: where each setting came from.
        command: that reproduces the audit.
        profile_source: built-in, or the profile's file.
        baseline: earlier result to compare with.
        earlier: tests of the same model on the same data, for which the gates allow.
        files: SHA-256 by full path of the files that the run is named by; None of one that was not there. An audit
            reads them only if they are still the same.
        places: lines that asked for gates, attacks and checks (see ``places.py``), for the record.
    """

    model: Path
    profile: Profile
    data: Path | None = None
    labels: Path | None = None
    feature_ranges: Path | None = None
    reference: Literal["labels", "model"] = "labels"
    classes: tuple[str, ...] | None = None
    surrogates: tuple[Path, ...] = ()
    input_values: dict[str, Any] = field(default_factory=dict)
    input_sources: dict[str, str] = field(default_factory=dict)
    interface: Interface = field(default_factory=Interface)
    batch_size: int | None = None
    time_budget: float | None = None
    sandbox: Mode = "offered"
    custom_ops: tuple[Path, ...] = ()
    eps_default: bool = False
    settings: Settings = field(default_factory=Settings)
    sources: dict[str, str] = field(default_factory=dict)
    command: str = ""
    profile_source: str = "built-in"
    baseline: Result | None = None
    earlier: tuple[EarlierTests, ...] = ()
    places: dict[str, Place] = field(default_factory=dict)
    files: Mapping[str, str | None] = field(default_factory=dict)
