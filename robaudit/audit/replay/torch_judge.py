"""Replays on TorchScript and torch.export files, which torch alone can run."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from robaudit.audit.process import sandbox
from robaudit.audit.replay.confidence import confidence
from robaudit.audit.replay.request import Answer, ReplayRequest, Said, by_draws, least_confidence
from robaudit.audit.result.document import Result
from robaudit.stats.chances import CHECKED
from robaudit.target.head.answers import OPEN, predictions
from robaudit.target.head.rule import Rule
from robaudit.target.inputs.meaning import InputMeaning
from robaudit.target.inputs.spec import InputSpec, SpecOverrides
from robaudit.target.load import Allowed, open_target
from robaudit.target.reading.interface import Interface
from robaudit.target.running.watch import UNWATCHED, Watch

__all__ = ["torch_judge"]


def torch_judge(
    request: ReplayRequest, result: Result, path: Path, meaning: InputMeaning, watch: Watch = UNWATCHED
) -> tuple[Answer, str]:
    """Answers of a file's own module, to inputs prepared as the audit did.

    Raises:
        UsageError: the file cannot be loaded, or its inputs and outputs are not those of the audit.
    """
    spec = result.target.input
    said = {
        "mean": spec.mean,
        "std": spec.std,
        "scale": spec.scale,
        "layout": (spec.layout or "").lower() or None,
        "channels": spec.channels,
        "domain": spec.domain,
    }
    rule = None
    output = next((output.name for output in result.target.outputs if output.scores), None)
    reading = result.target.reading
    if reading.label is not None or reading.columns:
        output = None  # found again as the audit found them
        if reading.aside is not None:
            rule = Rule("smallest" if reading.turned else "largest")
    fixed = {**result.target.fixed_inputs, **request.inputs}
    target = open_target(
        path,
        overrides=SpecOverrides({name: value for name, value in said.items() if value is not None}, {}),
        interface=Interface(output, spec.name, fixed, result.target.num_classes, rule, result.target.fresh_state),
        device=request.device,
        sample_shape=meaning.shape,
        allowed=Allowed(trust_model=request.trust_model, confined=not sandbox.is_free()),
        watch=watch,
    )
    kind: Any = result.target.head
    head = replace(
        target.head,
        kind=kind,
        turned=reading.turned,
        pairs=reading.pairs,
        threshold=reading.threshold,
        signed=reading.signed,
        classes=result.target.num_classes,
        labelled=reading.label is not None,
    )
    own = InputSpec(**{entry.name: getattr(meaning, entry.name) for entry in fields(meaning)})
    target = target.reread(spec=own, head=head)

    least = least_confidence(result)

    def named(scores: Tensor) -> Said:
        found = int(predictions(scores[None])[0])
        numbers = scores.detach().cpu().numpy()
        low = least is not None and confidence(numbers, target.score_kind) < least
        return Said(None if found == OPEN else found, low, numbers)

    def answer(point: NDArray[Any]) -> Said:
        u = torch.from_numpy(point.astype(meaning.precision))[None].to(target.device)
        if by_draws(request, result, meaning):
            return Said.of([named(scores) for scores in target.draws(u, CHECKED)[0]])
        return named(target.scores(u, alone=True)[0])

    return answer, str(target.facts.get("judge", target.format))
