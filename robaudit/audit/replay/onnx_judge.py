"""Replays on ONNX files: ONNX Runtime and NumPy alone, no torch."""

from __future__ import annotations

import math
import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from robaudit.audit.replay.confidence import class_scores, file_confidence, file_scores
from robaudit.audit.replay.request import Answer, ReplayRequest, Said, by_draws, least_confidence
from robaudit.audit.result.document import Reading, Result
from robaudit.errors import UsageError
from robaudit.stats.chances import CHECKED
from robaudit.target.files.onnx.declared import declared_input
from robaudit.target.files.onnx.runtime import ask, file_values, start, unsupported
from robaudit.target.files.onnx.source import read_onnx
from robaudit.target.head.answers import OPEN, predictions
from robaudit.target.inputs.drawing import keys_at
from robaudit.target.inputs.meaning import InputMeaning
from robaudit.target.inputs.several import choose_input
from robaudit.target.outputs.decisions import class_values, label_tail, label_values
from robaudit.target.outputs.rows import read_rows
from robaudit.target.outputs.wiring import Wiring
from robaudit.target.running.watch import UNWATCHED, Watch

__all__ = ["onnx_judge", "predicted"]


def onnx_judge(
    request: ReplayRequest, result: Result, path: Path, meaning: InputMeaning, *, same: bool, watch: Watch = UNWATCHED
) -> tuple[Answer, str]:
    """Answers of ONNX Runtime.

    Raises:
        UsageError: the file cannot be loaded, or its inputs and outputs are not those of the audit.
    """
    source = read_onnx(path)
    if request.device != "cpu":
        _use_gpu()
    threads = os.environ.get("OMP_NUM_THREADS", "")
    begin = partial(
        start,
        threads=int(threads) if threads.isdecimal() else 0,
        cuda=None if request.device == "cpu" else 0,
        custom_ops=request.custom_ops,
    )
    try:
        session = begin(source)
    except Exception as error:  # the runtime raises its own types
        raise UsageError(f"ONNX Runtime cannot load {path}: {unsupported(source.model, error)}") from error
    provider = session.provider
    if request.device != "cpu" and provider == "CPUExecutionProvider":
        raise UsageError("--device cuda: ONNX Runtime finds no GPU that it can use here")
    inputs = [declared_input(given, source.model) for given in session.inputs]
    names = [given.name for given in inputs]
    fixed = dict(result.target.fixed_inputs)
    if not same:
        fixed = {name: text for name, text in fixed.items() if name in names}
    fixed |= request.inputs
    attacked, others = choose_input(path, inputs, fixed, meaning.name if meaning.name in names else None)
    reading = result.target.reading
    known = [given.name for given in session.outputs]
    wanted = next((output.name for output in result.target.outputs if output.scores), known[0])
    needed = [
        *(reading.columns or ([wanted] if len(known) > 1 else [])),
        *([reading.label] if reading.label is not None else []),
    ]
    for name in needed:
        if name not in known:
            raise UsageError(f"{path} has no output {name!r}, which the audit judged (it has {', '.join(known)})")
    outputs = list(reading.columns) or [wanted if wanted in known else known[0]]
    role = "labels" if result.target.head == "labels" else "scores"
    values = _values(Wiring(source.model), outputs[0], role, reading.label)
    width = (attacked.shape or (None,))[0] or 1
    dtype = np.dtype("float32" if attacked.dtype == "bfloat16" else attacked.dtype)

    least = least_confidence(result)

    def once(point: NDArray[Any], number: int = 0) -> Said:
        keys = keys_at(point[None].astype(meaning.precision), number) if meaning.draws else None
        said = [shown(row[None]) for row in file_values(meaning.file_array(point[None], keys), dtype)]
        if meaning.voting is None:
            return said[0]
        classes = np.array([[OPEN if one.label is None else one.label for one in said]])
        votes, named = meaning.voted(classes, result.target.num_classes)
        return Said(int(votes[0].argmax()) if named[0] else None)

    def shown(one: NDArray[Any]) -> Said:
        row = np.repeat(one, width, axis=0)
        asked = [*outputs, *([reading.label] if reading.label is not None else [])]
        asked_of = begin(read_onnx(path)) if result.target.fresh_state else session
        with watch.call(width, "file"):
            results = dict(zip(asked, ask(asked_of, asked, attacked.name, row, others), strict=True))
        raw = read_rows(results, outputs, width, role, values, reading.label)
        kind, classes = result.target.head, result.target.num_classes
        sure = math.inf if least is None else file_confidence(raw[:1], kind, classes, reading)
        numbers = file_scores(raw[:1], kind, classes, reading)
        return Said(predicted(raw[:1], kind, classes, reading), least is not None and sure < least, numbers)

    def answer(point: NDArray[Any]) -> Said:
        return Said.of([once(point, n) for n in CHECKED]) if by_draws(request, result, meaning) else once(point)

    return answer, f"ONNX Runtime {onnxruntime.__version__}, {provider}"


def _use_gpu() -> None:
    """Load the libraries of CUDA, which come with torch otherwise."""
    if hasattr(onnxruntime, "preload_dlls"):
        onnxruntime.preload_dlls()


def _values(wiring: Wiring, output: str, role: str, label: str | None) -> tuple[Any, ...] | None:
    """What the file calls its classes, in the order of the scores; as ``OnnxFile.find_tail``."""
    if role == "labels":
        tail = label_tail(wiring, output)
        return label_values(wiring, output) or (tail.values if tail is not None else class_values(wiring, output))
    values = class_values(wiring, output)
    said = None if label is None else label_values(wiring, label)
    return values if said is None or set(values or ()) == set(said) else said


def predicted(raw: NDArray[Any], kind: str, classes: int, reading: Reading | None = None) -> int | None:
    """The class that one raw output [1, ...] says, by what the numbers mean; as ``Head.scores`` and its largest.

    Args:
        raw: of the file.
        kind: of the head.
        classes: K.
        reading: how the audit read it; with a label output beside the scores the last number is the class that it
            says, which decides.
    """
    reading = reading or Reading()
    flat = raw.reshape(-1)
    if kind == "labels":
        label = int(flat[0])
        if reading.signed:
            label = {-1: 0, 1: 1}.get(label, -1)
        return label if 0 <= label < classes else None
    if flat.dtype == np.float16:
        flat = flat.astype(np.float32)
    if reading.label is not None:
        flat, label = flat[:-1], int(flat[-1])
        open_ = flat.size > 1 and int(predictions(flat[None])[0]) == OPEN
        return label if 0 <= label < classes and not open_ and not np.isnan(flat).any() else None
    found = int(predictions(class_scores(flat, kind, reading)[None])[0])
    return None if found == OPEN else found
