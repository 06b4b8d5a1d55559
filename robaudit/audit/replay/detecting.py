"""The detector of an audit, as it was fitted then, beside the file that a replay asks; no torch for an ONNX file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robaudit.audit.replay.asked_file import check_files
from robaudit.audit.replay.request import Answer, ReplayRequest, Said
from robaudit.audit.result.archive import read_artefacts
from robaudit.audit.result.document import Result
from robaudit.detectors._answers import NodesOfFile, shares
from robaudit.detectors.guard import Guard
from robaudit.detectors.registry import fitting, make_detector
from robaudit.errors import AuditError
from robaudit.target.files.onnx.declared import declared_input
from robaudit.target.files.onnx.runtime import start
from robaudit.target.files.onnx.source import read_onnx
from robaudit.target.files.sniff import model_format
from robaudit.target.inputs.meaning import InputMeaning
from robaudit.target.inputs.several import choose_input

__all__ = ["behind", "recorded_guard"]


@dataclass(frozen=True)
class _Asked:
    """The file as a replay asks it, one input at a time."""

    meaning: InputMeaning
    answer: Answer
    kind: str
    nodes: NodesOfFile | None

    def probabilities(self, u: NDArray[Any]) -> NDArray[np.float64]:
        """See :meth:`robaudit.detectors.base.View.probabilities`."""
        rows = []
        for point in u:
            scores = self.answer(point).scores
            assert scores is not None
            rows.append(shares(scores[None], self.kind)[0])
        return np.stack(rows)

    def features(self, u: NDArray[Any], nodes: Sequence[str]) -> list[NDArray[np.float64]]:
        """See :meth:`robaudit.detectors.base.View.features`."""
        if self.nodes is None:
            raise AuditError("features of named nodes are taken of ONNX files, and the model is none")
        return self.nodes(u, nodes, alone=True)


def recorded_guard(request: ReplayRequest, result: Result, path: Path, meaning: InputMeaning, answer: Answer) -> Guard:
    """The detector of a result, with what it was fitted to and its threshold.

    Args:
        request: of the replay.
        result: tells of the detector.
        path: of the file that is asked.
        meaning: of its input.
        answer: of the file.

    Raises:
        AuditError: its file, or what it was fitted to, is not what it was.
        UsageError: it needs what is not there.
    """
    found = result.detector
    if found is None:
        raise AuditError("the result tells of no detector")
    check_files(found, "detector")
    detector = fitting(make_detector(found.id, found.parameters), meaning, trust=request.trust_model)
    folder = request.run if request.run.is_dir() else request.run.parent
    fitted = read_artefacts(folder, result.evidence, found.arrays) if found.arrays else {}
    nodes = _nodes(request, result, path, meaning) if model_format(path) == "onnx" else None
    view = _Asked(meaning, answer, result.target.head, nodes)
    return Guard(detector, fitted, found.threshold, view, view)


def _nodes(request: ReplayRequest, result: Result, path: Path, meaning: InputMeaning) -> NodesOfFile:
    """The nodes of an ONNX file, with its other inputs as the audit had them."""
    source = read_onnx(path)
    session = start(source, threads=1, custom_ops=request.custom_ops)
    inputs = [declared_input(given, source.model) for given in session.inputs]
    names = {given.name for given in inputs}
    fixed = {name: text for name, text in result.target.fixed_inputs.items() if name in names} | dict(request.inputs)
    attacked, others = choose_input(path, inputs, fixed, meaning.name if meaning.name in names else None)
    known = [output.name for output in session.outputs]
    wanted = [*result.target.reading.columns, *(output.name for output in result.target.outputs if output.scores)]
    scores = next((name for name in wanted if name in known), known[0])
    threads = os.environ.get("OMP_NUM_THREADS", "")
    return NodesOfFile(
        path,
        scores,
        replace(meaning, name=attacked.name),
        meaning.batch,
        others,
        threads=int(threads) if threads.isdecimal() else 0,
        custom_ops=request.custom_ops,
    )


def behind(answer: Answer, guard: Guard) -> Answer:
    """The answers of a file with a detector beside it."""

    def said(point: NDArray[Any]) -> Said:
        found = answer(point)
        if found.label is None or found.rejected:
            return found
        return replace(found, rejected=bool(guard.rejects(point[None], alone=True)[0]))

    return said
