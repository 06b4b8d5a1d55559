"""Asks a file again about stored adversarial examples, with ONNX Runtime and NumPy alone.

No torch is imported for an ONNX file. What the audit did is taken from its result: what the input means, the ball of
each attack, the output that was judged.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, FiniteFloat

from robaudit import __version__
from robaudit.audit.archive import Example, read_examples
from robaudit.audit.identity import sha256_file
from robaudit.audit.places import shown_path
from robaudit.audit.result import Attack, Result
from robaudit.audit.resultfile import load_result
from robaudit.audit.rundir import model_of
from robaudit.data.ranges import Ranges
from robaudit.errors import AuditError, RobauditError, UsageError
from robaudit.target.meaning import InputMeaning
from robaudit.target.sniff import model_format
from robaudit.threat.arrays import admissible

__all__ = ["Replay", "ReplayRequest", "Replayed", "meaning_of", "predicted", "replay"]

Answer: TypeAlias = Callable[[NDArray[Any]], int | None]
"""The class that a file answers to [*shape] in u-space, alone; None where it gives no finite answer."""
ReplayStatus: TypeAlias = Literal["fools", "no longer fools", "outside", "original wrong"]


@dataclass(frozen=True)
class ReplayRequest:
    """What to replay.

    Args:
        run: run directory, or a result's JSON with the evidence beside it.
        model: file to ask; None: the audited one, as the result names it.
        inputs: values of inputs that are not attacked, by name, in place of the audit's.
        device: cpu or cuda.
        trust_model: load TorchScript code that is not known to be harmless, and torch.export archives.
        custom_ops: libraries of custom operators for ONNX Runtime.
    """

    run: Path
    model: Path | None = None
    inputs: Mapping[str, str] = field(default_factory=dict)
    device: str = "cpu"
    trust_model: bool = False
    custom_ops: tuple[Path, ...] = ()


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, protected_namespaces=())


class Replayed(_Record):
    """One adversarial example, asked again."""

    sample: str
    """Name of the sample."""
    index: int
    """Position in the data source."""
    attack: str
    """The attack that found it."""
    norm: str
    """Norm of its ball."""
    eps: FiniteFloat
    """Radius of its ball."""
    distance: FiniteFloat | None
    """Its distance from the original, measured again in float64; null where it is no number."""
    label: int
    """Reference class."""
    target: int | None = None
    """Class that it was to be made to answer; null where any wrong one counts."""
    original: int | None
    """What the file answers to the original; null where it gives no finite answer."""
    recorded: int
    """What the audited file answered to the adversarial example."""
    prediction: int | None
    """What the file answers to it now; null where it gives no finite answer."""
    status: ReplayStatus
    """fools; no longer fools; outside (of its ball or of the box, or a feature moved that must stay); original wrong
    (the file misses the original, so that the example shows nothing)."""


class Replay(_Record):
    """A replay of a run's evidence."""

    version: str
    """Version of robaudit that replayed."""
    run: str
    """Id of the run."""
    model: str
    """The file that was asked."""
    sha256: str
    """Its digest."""
    same_model: bool
    """Whether it is the audited file."""
    judge: str
    """Runtime that answered."""
    evidence: str
    """The archive, relative to the result."""
    evidence_sha256: str
    """Its digest."""
    count: int
    """Adversarial examples."""
    fooled: int
    """Of those, examples that hold up."""
    classes: tuple[str, ...] | None = None
    """Class names, or null."""
    examples: tuple[Replayed, ...] = ()
    """All of them."""

    @property
    def holds(self) -> bool:
        """Whether every example still fools the file."""
        return self.fooled == self.count


def replay(request: ReplayRequest) -> Replay:
    """Ask the file about each stored example and its original, one input at a time, and measure the distances again.

    Raises:
        UsageError: the result, or a file that the user names, cannot be used.
        AuditError: the evidence, or the audited file, is missing or not the one of the result.
    """
    result = load_result(request.run / "result.json" if request.run.is_dir() else request.run)
    folder = request.run if request.run.is_dir() else request.run.parent
    examples = _examples(folder, result)
    path, digest = _model(request, result)
    meaning = meaning_of(result, examples[0].original.shape) if examples else None
    rows: list[Replayed] = []
    judge = "none was needed"
    if meaning is not None:
        answer, judge = _judge(request, result, path, meaning, same=digest == result.target.sha256)
        try:
            rows = [_replayed(example, result, meaning, answer) for example in examples]
        except UsageError:
            raise
        except RobauditError as error:
            raise UsageError(f"{path} does not answer as the audit asked: {error}") from error
    return Replay(
        version=__version__,
        run=result.run.id,
        model=shown_path(path),
        sha256=digest,
        same_model=digest == result.target.sha256,
        judge=judge,
        evidence=result.evidence.path or "",
        evidence_sha256=result.evidence.sha256 or "",
        count=len(rows),
        fooled=sum(row.status == "fools" for row in rows),
        classes=result.data.classes,
        examples=tuple(rows),
    )


def _examples(folder: Path, result: Result) -> list[Example]:
    """The evidence, checked against the result."""
    evidence = result.evidence
    if evidence.path is None:
        if any(sample.broken_by is not None for sample in result.samples):
            raise AuditError("the result tells of broken samples and names no evidence: there is nothing to replay")
        return []
    if Path(evidence.path).is_absolute() or ".." in Path(evidence.path).parts:
        raise AuditError(f"the result names evidence outside of its own folder ({evidence.path}); refused")
    examples = read_examples(folder, evidence, evidence.count)
    if len(examples) != evidence.count:
        raise AuditError(f"{evidence.path} holds {len(examples)} examples, and the result tells of {evidence.count}")
    known = {sample.index: sample for sample in result.samples}
    attacks = {attack.id for attack in result.attacks}
    shapes = {(e.original.shape, e.adversarial.shape) for e in examples}
    for example in examples:
        sample = known.get(example.index)
        if sample is None or sample.label != example.label or example.attack not in attacks or len(shapes) > 1:
            raise AuditError(f"{evidence.path} does not fit the result: they are not of the same audit")
    if missing := [s.id for s in result.samples if s.broken_by is not None and s.index not in _indices(examples)]:
        raise AuditError(f"{evidence.path} holds no example of {missing[0]}, which the result calls broken")
    return examples


def _indices(examples: list[Example]) -> set[int]:
    return {example.index for example in examples}


def _model(request: ReplayRequest, result: Result) -> tuple[Path, str]:
    if request.model is not None:
        if not request.model.is_file():
            raise UsageError(f"there is no model {request.model}")
        return request.model, sha256_file(request.model)
    kept = model_of(request.run if request.run.is_dir() else request.run.parent, result.run.id)
    known = [path for path in (Path(result.target.file), kept) if path is not None]
    found = [(path, sha256_file(path)) for path in known if path.is_file()]
    if not found:
        raise AuditError(f"the audited model {result.target.file} is not here; name it with --model FILE")
    for path, digest in found:
        if digest == result.target.sha256:
            return path, digest
    path = found[-1][0]
    raise AuditError(
        f"{path} was changed since the audit (its SHA-256 differs); --model {path} replays the evidence on it "
        "all the same"
    )


def meaning_of(result: Result, shape: tuple[int, ...]) -> InputMeaning:
    """What the audit found that the input means.

    Args:
        result: of the audit.
        shape: of one sample in u-space.

    Raises:
        AuditError: the evidence has another size than the input.
    """
    spec = result.target.input
    batch, sizes = spec.shape[0], tuple(int(size) for size in spec.shape[1:] if isinstance(size, int))
    if math.prod(sizes) != math.prod(shape) or len(sizes) != len(spec.shape) - 1:
        words = ["x".join(map(str, extent)) for extent in (shape, spec.shape[1:])]
        raise AuditError(f"the evidence has samples of {words[0]}, and the model's input takes {words[1]}")
    ranges = None
    if spec.features:
        rows = spec.features
        ranges = Ranges(
            names=tuple(f.name for f in rows),
            low=tuple(f.low for f in rows),
            high=tuple(f.high for f in rows),
            immutable=tuple(f.immutable for f in rows),
            integer=tuple(f.integer for f in rows),
        )
    low, high = spec.domain or (0.0, 1.0)
    layouts: dict[str, Literal["nchw", "nhwc"]] = {"nchw": "nchw", "nhwc": "nhwc"}
    return InputMeaning(
        name=spec.name,
        file_shape=sizes,
        shape=shape,
        kind="vector" if spec.channels is None else "image",
        layout=layouts.get((spec.layout or "").lower(), "none"),
        dtype=spec.dtype,
        batch=batch if isinstance(batch, int) else None,
        lo=low,
        hi=high,
        ranges=ranges,
        scale=1.0 if spec.scale is None else spec.scale,
        mean=spec.mean or (),
        std=spec.std or (),
        channels="bgr" if spec.channels == "bgr" else "rgb",
    )


def predicted(raw: NDArray[Any], kind: str, classes: int) -> int | None:
    """The class that one raw output [1, ...] says, by what the numbers mean; as ``Head.scores`` and its largest."""
    flat = raw.reshape(-1)
    if kind == "labels":
        label = int(flat[0])
        return label if 0 <= label < classes else None
    if flat.dtype == np.float16:
        flat = flat.astype(np.float32)
    if not np.isfinite(flat).all():
        return None
    if flat.size == 1:
        other = 1 - flat if kind == "probabilities" else np.zeros_like(flat)
        return int(flat[0] > other[0])
    return int(flat.argmax())


def _replayed(example: Example, result: Result, meaning: InputMeaning, answer: Answer) -> Replayed:
    attack = _attack(result, example.attack)
    inside, size = admissible(attack.norm, attack.eps, example.original, example.adversarial, meaning.fixed)
    original, prediction = answer(example.original), answer(example.adversarial)
    wrong = prediction == example.target if example.target is not None else prediction not in (example.label, None)
    status: ReplayStatus = "fools" if wrong else "no longer fools"
    if not inside:
        status = "outside"
    elif original != example.label:
        status = "original wrong"
    return Replayed(
        sample=next(sample.id for sample in result.samples if sample.index == example.index),
        index=example.index,
        attack=example.attack,
        norm=attack.norm,
        eps=attack.eps,
        distance=size if math.isfinite(size) else None,
        label=example.label,
        target=example.target,
        original=original,
        recorded=example.prediction,
        prediction=prediction,
        status=status,
    )


def _attack(result: Result, name: str) -> Attack:
    return next(attack for attack in result.attacks if attack.id == name)


def _judge(
    request: ReplayRequest, result: Result, path: Path, meaning: InputMeaning, *, same: bool
) -> tuple[Answer, str]:
    if model_format(path) != "onnx":
        from robaudit.audit.replay_torch import torch_judge  # torch is what runs such a file

        return torch_judge(request, result, path, meaning)
    return _onnx_judge(request, result, path, meaning, same=same)


def _onnx_judge(
    request: ReplayRequest, result: Result, path: Path, meaning: InputMeaning, *, same: bool
) -> tuple[Answer, str]:
    """Answers of ONNX Runtime.

    Raises:
        UsageError: the file cannot be loaded, or its inputs and outputs are not those of the audit.
    """
    import onnxruntime

    from robaudit.target.inputs import choose_input
    from robaudit.target.onnx_declared import declared_input
    from robaudit.target.onnx_runtime import ask, file_values, read_rows, start
    from robaudit.target.onnx_source import read_onnx
    from robaudit.target.peel import class_values, label_tail
    from robaudit.target.wiring import Wiring

    source = read_onnx(path)
    if request.device != "cpu":
        _use_gpu(onnxruntime)
    threads = os.environ.get("OMP_NUM_THREADS", "")
    try:
        session = start(
            source,
            threads=int(threads) if threads.isdecimal() else 0,
            cuda=None if request.device == "cpu" else 0,
            custom_ops=request.custom_ops,
        )
    except Exception as error:  # the runtime raises its own types
        raise UsageError(f"ONNX Runtime cannot load {path}: {' '.join(str(error).split())[:300]}") from error
    provider = session.get_providers()[0]
    if request.device != "cpu" and provider == "CPUExecutionProvider":
        raise UsageError("--device cuda: ONNX Runtime finds no GPU that it can use here")
    inputs = [declared_input(given) for given in session.get_inputs()]
    names = [given.name for given in inputs]
    fixed = dict(result.target.fixed_inputs)
    if not same:
        fixed = {name: text for name, text in fixed.items() if name in names}
    fixed |= request.inputs
    attacked, others = choose_input(path, inputs, fixed, meaning.name if meaning.name in names else None)
    known = [given.name for given in session.get_outputs()]
    wanted = next((output.name for output in result.target.outputs if output.scores), known[0])
    if wanted not in known and len(known) > 1:
        raise UsageError(f"{path} has no output {wanted!r}, which the audit judged (it has {', '.join(known)})")
    output = wanted if wanted in known else known[0]
    role = "labels" if result.target.head == "labels" else "scores"
    values = None
    if role == "labels" or not session.get_outputs()[known.index(output)].type.startswith("tensor(float"):
        wiring = Wiring(source.model)
        tail = label_tail(wiring, output) if role == "labels" else None
        values = tail.values if tail is not None else class_values(wiring, output)
    width = (attacked.shape or (None,))[0] or 1
    dtype = np.dtype(attacked.dtype)

    def answer(point: NDArray[Any]) -> int | None:
        row = np.repeat(file_values(meaning.file_array(point[None]), dtype), width, axis=0)
        raw = read_rows(ask(session, [output], attacked.name, row, others)[0], width, output, role, values)
        return predicted(raw[:1], result.target.head, result.target.num_classes)

    return answer, f"ONNX Runtime {onnxruntime.__version__}, {provider}"


def _use_gpu(onnxruntime: Any) -> None:
    """Load the libraries of CUDA, which come with torch otherwise."""
    if hasattr(onnxruntime, "preload_dlls"):
        onnxruntime.preload_dlls()
