"""The file under audit and its data, as a result records them."""

# ruff: noqa: RUF012 (pydantic copies defaults)
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import FiniteFloat

from robaudit.audit.result.sections.base import Free, Number, Section

__all__ = [
    "Data",
    "Defended",
    "DefensePart",
    "Detecting",
    "Feature",
    "Gradient",
    "InputSpec",
    "Output",
    "Reading",
    "Target",
    "feature_words",
    "training_words",
]

NAMED = 4


class Feature(Section):
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


class InputSpec(Section):
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


class Output(Section):
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


class Reading(Section):
    """How the outputs are read; the plain way unless it says otherwise."""

    label: str | None = None
    """Output that says the class beside the scores, and decides; null where there is none."""
    columns: tuple[str, ...] = ()
    """Outputs that hold one class's score each, in the order of the classes; empty where one output holds all."""
    turned: bool = False
    """Whether the smallest score wins."""
    pairs: bool = False
    """Whether there is one score for each pair of classes."""
    threshold: Number = None
    """Above which one number says the second of two classes; null: 0, or 0.5 for a probability."""
    signed: bool = False
    """Whether labels are -1 for the first of two classes and 1 for the second."""
    aside: str | None = None
    """Label output that was set aside for what the user said of the scores; null where there is none."""
    disputed: str | None = None
    """A sentence where that label says otherwise than the scores; null where they agree."""


class Gradient(Section):
    """Whether the target can be differentiated."""

    available: bool
    """Whether white-box attacks can run."""
    reason: str | None = None
    """Why not, or what limits it."""
    source: str | None = None
    """What gives the gradient: a torch twin of the ONNX graph, or the module in the file itself."""
    method: Literal["exact", "straight-through", "smoothed", "stand-in", "none"] | None = None
    """exact; straight-through, where operators without a derivative are passed as if they were not there;
    stand-in, where another model's gradient is taken; none."""
    cuts: tuple[str, ...] = ()
    """Operators between input and scores without a useful derivative, with node and what stands for it."""
    before: tuple[str, ...] = ()
    """Operators at the end of the file that the gradient leaves out, from the output backwards; the judge does not."""
    batching: str | None = None
    """How the twin runs a batch: direct, vmap or loop."""


class Target(Section):
    """The file under audit."""

    file: str
    """Path as given."""
    sha256: str
    """Digest of the file."""
    external: dict[str, str] = {}
    """Files beside it that an ONNX model keeps weights in, by their name in the model, with the digest of each."""
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
    reading: Reading = Reading()
    """How they are read."""
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
    training: tuple[str, ...] = ()
    """Parts of the file that behave as in training (dropout, batch norm), as it does wherever it is loaded and run."""
    random: Literal["file", "defense"] | None = None
    """What answers by chance, so that it was judged on many draws; null: nothing does."""
    fresh_state: bool = False
    """Whether what calls leave behind in the model was undone before each, so that each answer is the first one."""
    assumed: tuple[str, ...] = ()
    """What was assumed about the input, a sentence each; no gate on the model passes unless this is empty."""


class DefensePart(Section):
    """One defense."""

    id: str
    """Name of the defense."""
    parameters: Free = {}
    """Its parameters, defaults among them."""
    words: str
    """As the setting names it, such as bits:depth=3."""
    summary: str
    """What it does, in one sentence."""
    files: dict[str, str] = {}
    """Its files: the parameter that names each, and the SHA-256."""


class Defended(DefensePart):
    """The defense in front of the file: all answers and gradients are those of both together.

    Of a chain, id, words and summary are of the whole, and parameters and files stand with its parts.
    """

    parts: tuple[DefensePart, ...] = ()
    """The defenses of a chain, in the order in which an input meets them; empty where there is one alone."""

    @property
    def chain(self) -> tuple[DefensePart, ...]:
        """Each defense, in the order in which an input meets them."""
        return self.parts or (self,)


class Detecting(DefensePart):
    """The detector beside the file: what it rejects has no answer, and no attack succeeds with it."""

    false_alarms: FiniteFloat
    """Share of clean inputs that it was allowed to reject."""
    threshold: FiniteFloat
    """The largest suspicion that it accepts."""
    fitted_on: int
    """Clean samples that it was fitted on, apart from those audited; 0 where it needs no fit."""
    calibrated_on: int
    """Clean samples that the threshold was set on, apart from those and from the audited ones."""
    differentiable: bool
    """Whether the suspicion has a gradient, or a stand-in with one, for attacks on model and detector at once."""
    arrays: dict[str, tuple[int, ...]] = {}
    """What it was fitted to: names of the arrays in the evidence, with their shapes."""


def training_words(parts: Sequence[str]) -> str:
    """What it means that parts of a file are in training mode, in a sentence."""
    more = f" and {len(parts) - NAMED} more" if len(parts) > NAMED else ""
    return (
        f"the file is in training mode ({', '.join(parts[:NAMED])}{more}): dropout and batch norm act as in training "
        "wherever it is loaded and run, and so it was judged; one saved in evaluation mode is another model"
    )


class Data(Section):
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
    """Samples drawn for this audit, no two of them the same input to the model."""
    asked: int | None = None
    """Most samples that the audit would draw; fewer are drawn where the data hold fewer distinct inputs, or the audit
    ended before."""
    repeats: int = 0
    """Samples passed over in drawing, because the model is fed the same of them as of one drawn before."""
    contradictions: int = 0
    """Drawn inputs of which copies with another label were passed over."""
    reference: Literal["labels", "model"]
    """What an answer is compared with: true labels, or the model's own clean answers (stability mode)."""
    classes: tuple[str, ...] | None = None
    """Class names in the order of the model's outputs, or null."""
    class_order: str | None = None
    """Where the order of the classes comes from; says so where it is assumed."""
    notes: tuple[str, ...] = ()
    """What was done to the data, and samples left out."""


def feature_words(feature: Mapping[str, Any]) -> tuple[str, str]:
    """A feature's range, and what else is known, such as ``[0, 120]`` and ``whole numbers, immutable``."""
    words = ["whole numbers"] if feature["integer"] else []
    words += ["immutable"] if feature["immutable"] else ["constant"] if feature["low"] == feature["high"] else []
    return f"[{feature['low']:g}, {feature['high']:g}]", ", ".join(words)
