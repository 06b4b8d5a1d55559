"""The result of an audit: one versioned, documented model; every report is rendered from it alone.

``Result.model_json_schema()`` documents every field. Floats are finite or null, so that any JSON parser reads
it. Models are frozen; change one with ``model_copy(update={...})``.
"""

from __future__ import annotations

import json
import math
import os
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, FiniteFloat, JsonValue, model_validator

from robaudit.stats import Rate

__all__ = [
    "INCOMPLETE_STATUSES",
    "SCHEMA_VERSION",
    "Attack",
    "AuditFailure",
    "Check",
    "Clean",
    "Data",
    "Environment",
    "Evidence",
    "Feature",
    "Gate",
    "Gradient",
    "InputSpec",
    "Output",
    "ProfileRecord",
    "Rate",
    "Result",
    "Run",
    "Sample",
    "Target",
    "Threat",
    "Tool",
    "Verdict",
    "WorstCase",
    "result_schema",
]

SCHEMA_VERSION = "1.1"

Norm: TypeAlias = Literal["linf", "l2", "l1", "l0"]
Goal: TypeAlias = Literal["untargeted", "targeted"]
Access: TypeAlias = Literal["white-box", "transfer", "scores", "labels"]
AttackStatus: TypeAlias = Literal["done", "partial", "skipped", "unavailable", "failed", "not run"]
CheckStatus: TypeAlias = Literal["pass", "warn", "fail", "skipped"]
GateStatus: TypeAlias = Literal["pass", "fail", "inconclusive", "invalid"]
VerdictStatus: TypeAlias = Literal["ok", "withheld", "failed", "inconclusive", "incomplete", "invalid"]

INCOMPLETE_STATUSES: frozenset[AttackStatus] = frozenset({"partial", "unavailable", "failed", "not run"})
"""An audit with an attack in one of these is incomplete; ``skipped`` is not among them (it did not apply)."""


def _plain(value: Any) -> Any:
    """A value as JSON can hold it: no NaN or infinity, no numpy scalars, no bytes that are not UTF-8."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_plain(str(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, os.PathLike):
        return _plain(os.fspath(value))
    if not isinstance(value, bool | int | float | BaseModel | None) and callable(getattr(value, "item", None)):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


Number: TypeAlias = FiniteFloat | None
Free: TypeAlias = dict[str, JsonValue]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _make_plain(cls, content: Any) -> Any:
        return _plain(content)


class Tool(_Record):
    """The program that made this result."""

    name: str = "robaudit"
    """Name of the tool."""
    version: str
    """Its version."""


class Run(_Record):
    """This run of the audit."""

    id: str
    """Digest of file, data, resolved profile, seed and version: the same audit has the same id."""
    seed: int
    """Seed of all random numbers."""
    started: str
    """Start, ISO 8601 with time zone."""
    finished: str
    """End, ISO 8601 with time zone."""
    seconds: FiniteFloat
    """Wall time spent, over all sessions of a resumed run."""
    command: str
    """Command that reproduces the run."""
    batch_size: int | Literal["auto"]
    """Batch size asked for; the outcome does not depend on it."""
    resumed: bool = False
    """Whether a part came from the journal of an earlier, unfinished session."""
    complete: bool = True
    """Whether everything planned was carried out."""
    interrupted: bool = False
    """Whether the user or the system stopped it; the journal is kept."""
    failed: str | None = None
    """Why the worker failed, or null."""
    reproducible: bool = True
    """Whether the same command gives the same result (a time budget or a random target voids it)."""
    network: str = "nothing was sent"
    """What was sent over a network."""
    notes: tuple[str, ...] = ()
    """What happened on the way, such as a batch halved because memory ran out."""


class Verdict(_Record):
    """What it comes to."""

    status: VerdictStatus
    """ok; failed (a gate failed on verified evidence); withheld (a check failed, so no headline); incomplete;
    invalid (a gate could not be judged); inconclusive (too few samples for a gate)."""
    headline: str
    """One sentence."""
    reasons: tuple[str, ...] = ()
    """Why the status is what it is."""
    next_steps: tuple[str, ...] = ()
    """What to do next."""
    exit_code: int
    """Exit code of the process."""


class Feature(_Record):
    """A feature of a table."""

    name: str
    """Its column."""
    low: FiniteFloat
    """Smallest value, in the file's units."""
    high: FiniteFloat
    """Largest value; perturbations are measured as fractions of the difference."""
    immutable: bool = False
    """Whether the attacker cannot change it; a constant one, low = high, never changes either."""
    integer: bool = False
    """Whether it takes whole numbers alone."""


class InputSpec(_Record):
    """What the input means."""

    name: str
    """Name of the input in the file."""
    shape: tuple[int | str | None, ...]
    """Shape in the file; a name or null where it is free."""
    dtype: str
    """Element type in the file."""
    layout: str | None = None
    """Layout of images (NCHW, NHWC), else null."""
    channels: str | None = None
    """Channel order (rgb, bgr, grey), or null."""
    domain: tuple[FiniteFloat, FiniteFloat] | None = (0.0, 1.0)
    """Box of valid values in which perturbations are measured; null where each feature has its own range."""
    features: tuple[Feature, ...] = ()
    """Each feature of a table with its range, in the order of the input; empty where one domain holds for all."""
    mean: tuple[FiniteFloat, ...] | None = None
    """Subtracted per channel after scaling, or null."""
    std: tuple[FiniteFloat, ...] | None = None
    """Divided by per channel, or null."""
    scale: Number = None
    """Factor from the domain to the model's units before mean and std, or null."""
    resize: str | None = None
    """How images were resized and cropped before the domain, or null."""
    provenance: dict[str, str] = {}
    """Where each of these was found, by name of the field."""


class Output(_Record):
    """An output of the file."""

    name: str
    """Name in the file."""
    shape: tuple[int | str | None, ...]
    """Shape in the file; a name or null where it is free."""
    dtype: str
    """Element type in the file."""
    scores: bool = False
    """Whether the class scores, or the labels, are read from it."""
    reason: str | None = None
    """Why it was chosen, or null."""


class Gradient(_Record):
    """Whether the target can be differentiated."""

    available: bool
    """Whether white-box attacks can run."""
    reason: str | None = None
    """Why not, or what limits it."""
    source: str | None = None
    """What gives the gradient: a torch twin of the ONNX graph, or the module in the file itself."""
    method: Literal["exact", "straight-through", "none"] | None = None
    """exact; straight-through, where operators without a derivative are passed as if they were not there; none."""
    cuts: tuple[str, ...] = ()
    """Operators between input and scores without a useful derivative, with node and what stands for it."""
    before: tuple[str, ...] = ()
    """Operators at the end of the file that the gradient leaves out, from the output backwards; the judge does not."""
    batching: str | None = None
    """How the twin runs a batch: direct, vmap or loop."""


class Target(_Record):
    """The file under audit."""

    file: str
    """Path as given."""
    sha256: str
    """Digest of the file."""
    bytes: int
    """Size of the file."""
    format: str
    """onnx or torchscript."""
    details: Free = {}
    """Facts about the file, such as opset and producer."""
    input: InputSpec
    """The attacked input."""
    outputs: tuple[Output, ...] = ()
    """All outputs."""
    fixed_inputs: dict[str, str] = {}
    """Values of the inputs that are not attacked, as they were given."""
    num_classes: int
    """Number of classes."""
    head: str
    """What the class scores are: logits, probabilities, log-probabilities, sigmoids, or labels."""
    gradient: Gradient
    """Gradient availability."""
    batch_invariant: bool | None = None
    """Whether an input's answer is the same in any batch; null where not measured."""
    assumed: tuple[str, ...] = ()
    """What was assumed about the input, a sentence each; no gate on the model passes unless this is empty."""


class Data(_Record):
    """The samples."""

    source: str
    """Path as given, or the name of the bundled set."""
    kind: str
    """image folder, table, array or bundled."""
    sha256: str
    """Digest of the drawn data in order."""
    count: int
    """Samples available."""
    drawn: int
    """Samples drawn for this audit."""
    reference: Literal["labels", "model"]
    """What an answer is compared with: true labels, or the model's own clean answers (stability mode)."""
    classes: tuple[str, ...] | None = None
    """Class names in the order of the model's outputs, or null."""
    class_order: str | None = None
    """Where the order of the classes comes from; says so where it is assumed."""
    notes: tuple[str, ...] = ()
    """What was done to the data, and samples left out."""


class Threat(_Record):
    """What the attacker may do."""

    norm: Norm
    """Norm of the perturbation."""
    eps: FiniteFloat
    """Radius as a fraction of the domain's width (L0: number of features)."""
    eps_text: str
    """The radius as it was written, such as 8/255."""
    eps_default: bool = False
    """Whether nobody chose the radius."""
    goal: Goal = "untargeted"
    """Any wrong class, or a given one."""
    access: tuple[Access, ...] = ()
    """Kinds of access that the attacks of this audit used."""
    queries: int | None = None
    """Most queries for each sample that a black-box attack may spend; null leaves it to the attack."""
    domain: str = "the box of valid inputs"
    """The set that adversarial inputs stay in, besides the ball."""


class ProfileRecord(_Record):
    """The profile after everything was resolved."""

    name: str
    """Name."""
    source: str
    """Built-in, or the path of its file."""
    sha256: str
    """Digest of the resolved profile."""
    resolved: Free
    """The resolved profile."""
    settings: Free = {}
    """Resolved settings of the run."""
    sources: dict[str, str] = {}
    """Where each setting came from."""


class Environment(_Record):
    """Where it ran."""

    python: str
    """Version of Python."""
    platform: str
    """Operating system and machine."""
    device: str
    """Device that the attacks ran on."""
    judge: str
    """Runtime and provider that judged every success."""
    packages: dict[str, str] = {}
    """Versions of the packages that matter."""
    details: Free = {}
    """Processors, threads, GPU."""


class Clean(_Record):
    """The model without an attacker."""

    accuracy: Rate | None
    """Share of drawn samples classified correctly; null in stability mode."""
    declared: Number = None
    """Accuracy that the owner declared, or null."""


class WorstCase(_Record):
    """The union of all attacks, sample by sample."""

    metric: Literal["robust_accuracy", "stability"]
    """What is measured: robust accuracy against labels, or stability of the model's own answers."""
    robust_accuracy: Rate | None = None
    """Share of drawn samples that are classified correctly and unbroken: an upper bound on the truth.
    Null where the headline is withheld, the audit is incomplete, or the metric is stability."""
    stability: Rate | None = None
    """The same against the model's own answers; null unless the metric is stability."""
    upper_bound_observed: Rate
    """What was observed so far, always given: valid as an upper bound only, and not to be quoted where
    the headline is withheld."""


class Attack(_Record):
    """One attack of the cascade; it ran on what the attacks before it left standing."""

    id: str
    """Name of the attack."""
    name: str
    """Name for people."""
    access: Access
    """What it may ask of the target."""
    status: AttackStatus
    """done; partial; skipped (does not apply); unavailable (the target cannot serve it); failed; not run."""
    reason: str | None = None
    """Why the status is not done."""
    parameters: Free = {}
    """Resolved parameters."""
    norm: Norm
    """Norm it ran in."""
    eps: FiniteFloat
    """Radius it ran at."""
    goal: Goal = "untargeted"
    """Goal it ran for."""
    seed: int
    """Seed of its random numbers."""
    attempted: int = 0
    """Samples it was tried on."""
    broken: int = 0
    """Of those, samples that the judge confirmed fooled."""
    newly_broken: int = 0
    """Of those, samples that no earlier attack broke."""
    cumulative_robust_accuracy: Rate | None = None
    """What stands after this and all earlier attacks, of all drawn samples; null if it did not run."""
    rate_alone: Rate | None = None
    """What stands after this attack alone, of all drawn samples; null unless it saw every one that was
    classified correctly."""
    median_distance: Number = None
    """Median distance over the samples it broke, in its norm."""
    forwards: int = 0
    """Forward passes of the model for single inputs, oracles and judge left out."""
    backwards: int = 0
    """Backward passes for single inputs."""
    queries: int = 0
    """Score or label queries."""
    judge_queries: int = 0
    """Inputs that the judge classified."""
    seconds: FiniteFloat = 0.0
    """Wall time."""
    candidates_refused: int = 0
    """Candidates that the judge did not confirm on the original file."""


class Check(_Record):
    """A test of the audit itself; one that fails withholds the headline."""

    id: str
    """Name of the check."""
    status: CheckStatus
    """pass, warn, fail or skipped."""
    value: Number = None
    """What was measured, or null."""
    threshold: Number = None
    """What it was compared with, or null."""
    message: str
    """One sentence: what was found, and what it means."""


class Gate(_Record):
    """A gate and how it was decided."""

    metric: str
    """What it looks at."""
    min: Number = None
    """Least value that passes, or null."""
    max: Number = None
    """Largest value that passes, or null."""
    level: Literal["error", "warn"] = "error"
    """Whether it decides the exit code."""
    confidence: FiniteFloat
    """Confidence of the exact one-sided bounds."""
    status: GateStatus
    """pass, fail, inconclusive (too few samples), or invalid (cannot be judged)."""
    observed: Rate | None = None
    """The rate it looked at, or null."""
    value: Number = None
    """The value where it is no rate, or null."""
    samples_needed: int | None = None
    """Samples that would decide it if the estimate stayed; null where decided or out of reach."""
    message: str
    """One sentence."""


class Evidence(_Record):
    """The adversarial examples kept."""

    path: str | None = None
    """Path of the archive, relative to the run directory; null if there is none."""
    sha256: str | None = None
    """Digest of the archive."""
    count: int = 0
    """Number of adversarial examples."""


class AuditFailure(_Record):
    """Something that went wrong."""

    where: str
    """Part of the audit."""
    message: str
    """One sentence."""
    sample: str | None = None
    """Sample it cost, or null."""
    attack: str | None = None
    """Attack it cost, or null."""


class Sample(_Record):
    """What became of one sample."""

    id: str
    """Name of the sample, such as its file's path in the data folder."""
    index: int
    """Position in the data source."""
    label: int | None
    """Reference class; null where it could not be read."""
    clean_prediction: int | None
    """What the file answers unperturbed; null where it gave no finite answer."""
    broken_by: str | None = None
    """The first attack that broke it, or null."""
    adversarial_prediction: int | None = None
    """What the file answers to the adversarial example, or null."""
    distance: Number = None
    """Distance of the adversarial example, or null."""
    distance_8bit: Number = None
    """The same after rounding to 8 bits towards the original, if that still fools; else null."""
    queries: int = 0
    """Score and label queries spent on it, by all attacks."""
    error: str | None = None
    """Why it could not be audited, or null."""


def _same_version(version: str) -> str:
    if version != SCHEMA_VERSION:
        raise ValueError(f"schema version {version} is not {SCHEMA_VERSION}")
    return version


class Result(_Record):
    """A robaudit result."""

    schema_version: Annotated[str, AfterValidator(_same_version)] = SCHEMA_VERSION
    """Version of this schema."""
    tool: Tool
    run: Run
    verdict: Verdict
    target: Target
    data: Data
    threat_model: Threat
    profile: ProfileRecord
    environment: Environment
    clean: Clean
    worst_case: WorstCase
    attacks: tuple[Attack, ...] = ()
    """All planned attacks in the order of the cascade."""
    checks: tuple[Check, ...] = ()
    """All checks."""
    gates: tuple[Gate, ...] = ()
    """All gates."""
    evidence: Evidence = Evidence()
    limitations: tuple[str, ...] = ()
    """What was not tested, and what the figures do not say."""
    errors: tuple[AuditFailure, ...] = ()
    """Everything that went wrong."""
    samples: tuple[Sample, ...] = ()
    """One entry a drawn sample, in data order."""

    def to_json(self) -> str:
        """The result as JSON text, indented by 2, ended by a newline."""
        return json.dumps(self.model_dump(mode="json"), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def result_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of what :meth:`Result.to_json` writes."""
    schema = Result.model_json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "robaudit result"}
