"""What ``inspect`` says of a file: a documented structure, which text and JSON are made from."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, FiniteFloat

__all__ = [
    "BatchFacts",
    "CostFacts",
    "FileFacts",
    "GradientCheck",
    "GradientFacts",
    "HeadFacts",
    "InputFacts",
    "Inspection",
    "MeaningFacts",
    "OperatorFacts",
    "OutputFacts",
    "ParityFacts",
    "SafetyFacts",
    "SpeedFacts",
]

Number = FiniteFloat | None


class _Facts(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, protected_namespaces=())


class FileFacts(_Facts):
    """The file."""

    path: str
    """Path as given."""
    sha256: str
    """Digest of the file."""
    bytes: int
    """Size of the file itself."""
    format: str
    """onnx, torchscript or exported."""
    opsets: dict[str, int] = {}
    """Version of each operator domain."""
    ir_version: int | None = None
    """Version of the ONNX format."""
    producer: str = ""
    """Program that wrote it."""
    judge: str
    """Runtime that answers."""
    parameters: int
    """Numbers among its weights."""
    parameter_bytes: int
    """Their size."""


class SafetyFacts(_Facts):
    """What matters of a file that is not trusted."""

    external_data: tuple[str, ...] = ()
    """Files in which it keeps weights."""
    foreign_domains: tuple[str, ...] = ()
    """Operator domains that need a library of custom operators."""
    code: str
    """Whether the file holds code, and what was found in it."""


class InputFacts(_Facts):
    """An input."""

    name: str
    """Name in the file."""
    shape: tuple[int | None, ...] | None
    """Shape; null where free or unknown."""
    dtype: str
    """Element type."""
    role: Literal["attacked", "fixed"]
    """What an audit does with it."""
    value: str | None = None
    """What it is fixed at, as given."""


class MeaningFacts(_Facts):
    """What the attacked input means."""

    kind: str
    """image, vector or tokens."""
    shape: tuple[int, ...]
    """Canonical shape of a sample."""
    layout: str | None
    """nchw or nhwc; null for vectors."""
    channels: str | None
    """rgb or bgr; null for vectors."""
    domain: tuple[FiniteFloat, FiniteFloat] | None
    """Lowest and highest value; null where each feature has its own range."""
    scale: FiniteFloat
    """Factor from the domain to the model's units."""
    mean: tuple[FiniteFloat, ...]
    """Subtracted after scaling; empty: nothing."""
    std: tuple[FiniteFloat, ...]
    """Divided by; empty: nothing."""
    provenance: dict[str, str]
    """Where each was found."""
    assumed: tuple[str, ...]
    """What was assumed, a sentence each."""
    features: dict[str, str] = {}
    """Range of each feature of a table."""
    candidates: dict[str, str] = {}
    """Meanings that were tried on labelled samples, with what came of them."""


class OutputFacts(_Facts):
    """An output."""

    name: str
    """Name in the file."""
    shape: tuple[int | None, ...] | None
    """Shape; null where free or unknown."""
    dtype: str
    """Element type."""
    chosen: bool
    """Whether the class scores, or labels, are read from it."""
    reason: str | None = None
    """Why it was chosen."""


class HeadFacts(_Facts):
    """What the chosen output says."""

    kind: str
    """logits, probabilities, log-probabilities, sigmoids or labels."""
    classes: int
    """Number of classes."""
    class_names: tuple[str, ...] | None
    """Declared names."""
    peeled: bool
    """Whether gradients are taken before the end of the file."""
    before: tuple[str, ...]
    """What they leave out, from the output backwards, as ``Op (node)``."""


class OperatorFacts(_Facts):
    """An operator."""

    operator: str
    """``domain::Op-opset``, the default domain left out."""
    count: int
    """Nodes, those of nested graphs included."""
    supported: bool | None
    """Whether it has a torch translation; null where none is needed."""
    nodes: tuple[str, ...] = ()
    """Names of the nodes that have none."""


class GradientFacts(_Facts):
    """Whether white-box attacks can run."""

    available: bool
    """Whether they can."""
    method: Literal["exact", "straight-through", "smoothed", "stand-in", "none"]
    """How good the gradient is."""
    reason: str | None
    """Why there is none."""
    cuts: tuple[str, ...]
    """Operators between input and scores without a useful derivative, and what stands for it."""


class ParityFacts(_Facts):
    """Torch twin against ONNX Runtime, on the file's own output."""

    points: int
    """Samples compared."""
    argmax_agreement: FiniteFloat
    """Share with the same prediction."""
    relative_difference: Number
    """Largest difference over the largest score; null where it is not finite."""
    noise: Number
    """The same between ONNX Runtime with and without its optimisations; null where not measured."""


class GradientCheck(_Facts):
    """The twin's gradient against central differences of the file's own scores along it."""

    points: int
    """Samples at which it was taken."""
    median_error: FiniteFloat
    """Median relative difference, each at the best of four step widths."""
    worst_error: FiniteFloat
    """Largest of them."""


class BatchFacts(_Facts):
    """How the file answers batches."""

    declared: int | None
    """Batch size that the file fixes; null: any."""
    invariant: bool | None
    """Whether an answer is the same in any batch; null where not measured."""
    deviation: Number
    """Largest relative difference between an input alone and in a batch."""
    repeats: Number
    """Largest relative difference between five answers to the same input."""
    twin: str | None
    """How the twin runs a batch: direct, vmap or loop."""
    best: int
    """Batch size with the best throughput here."""


class SpeedFacts(_Facts):
    """Time of one call at a batch size, the best of three."""

    batch: int
    """Inputs a call."""
    judge_ms: FiniteFloat
    """Forward of the file in its runtime."""
    forward_ms: Number = None
    """Forward of the twin."""
    gradient_ms: Number = None
    """Forward and backward of the twin."""
    forward_ratio: Number = None
    """Forward of the twin over the runtime's."""
    gradient_ratio: Number = None
    """Forward and backward of the twin over the runtime's forward."""


class MoneyFacts(_Facts):
    """Money."""

    amount: FiniteFloat
    """How much."""
    currency: str
    """Of what."""


class CostFacts(_Facts):
    """What the attacks of an audit would cost; clean answers, checks, evidence and the engine come on top."""

    seconds: FiniteFloat
    """At most in the model, at the speed measured, if no sample falls before its attack's last step."""
    samples: int
    """Samples of the data that it would draw."""
    forwards: int = 0
    """Most forward passes of one sample, over all attacks."""
    backwards: int = 0
    """Most backward passes of one sample."""
    queries: int = 0
    """Most queries of one sample."""
    money: MoneyFacts | None = None
    """Most that an endpoint with a price charges for them, over all samples; null where it has none, or is a file."""
    unknown: tuple[str, ...] = ()
    """Attacks that cannot say what they need: it is in none of the figures."""
    unavailable: dict[str, str] = {}
    """Attacks that could not run, and why."""


class Inspection(_Facts):
    """All of it. A section that could not be measured is null, and ``unmeasured`` says why."""

    file: FileFacts
    """The file."""
    safety: SafetyFacts
    """What matters of a file that is not trusted."""
    inputs: tuple[InputFacts, ...]
    """All inputs."""
    meaning: MeaningFacts
    """What the attacked one means."""
    outputs: tuple[OutputFacts, ...]
    """All outputs."""
    head: HeadFacts
    """What the chosen one says."""
    operators: tuple[OperatorFacts, ...]
    """All operators, those without a translation first."""
    gradient: GradientFacts
    """Whether white-box attacks can run."""
    samples: str
    """What was measured on."""
    batch: BatchFacts | None = None
    """How the file answers batches."""
    parity: ParityFacts | None = None
    """Twin against file."""
    gradient_check: GradientCheck | None = None
    """Gradient against differences."""
    speed: tuple[SpeedFacts, ...] | None = None
    """Speed at batch 1 and at the best batch size."""
    costs: dict[str, CostFacts] | None = None
    """Cost of each built-in profile."""
    notes: tuple[str, ...] = ()
    """What else was noticed."""
    unmeasured: dict[str, str] = {}
    """Why a section is null."""
