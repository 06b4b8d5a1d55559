"""The only caller of a model on behalf of an audit: what is asked, what for, how often, and what is refused."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from robaudit.attacks.requests import TRUE, How, ModelRef
from robaudit.engine.guarding import Guarding
from robaudit.engine.models import AuditedFile, Differentiable, Drawn, Ensemble, Smoothed, Smoothing
from robaudit.engine.refusals import REFUSALS, Refusals, out_of_memory
from robaudit.errors import AuditError, UsageError
from robaudit.stats.chances import WITHOUT
from robaudit.target.head.answers import OPEN, predictions
from robaudit.target.head.scores import Kind
from robaudit.target.reading.opened import ranked
from robaudit.threat.service import FILE, Service

__all__ = ["Oracle", "Purpose", "Reply"]


class Purpose(enum.StrEnum):
    """What the file is asked for."""

    CLEAN = "clean"
    """Its answers to the samples as they are, which the attacks start from."""
    MEASURE = "measure"
    """What its inputs and outputs mean, and how fast it is."""
    SEARCH = "search"
    """The queries of an attack."""
    JUDGE = "judge"
    """Whether a candidate fools."""
    CHECK = "check"
    """Whether the audit itself is sound."""


TOLERANT = frozenset({Purpose.SEARCH, Purpose.JUDGE})
"""Where an input that the file refuses has an answer without a class, and costs itself alone."""


@dataclass(frozen=True)
class Reply:
    """What the file says of inputs.

    Args:
        scores: [N, K] at file precision; NaN where the file says so, or refuses the input.
        rejected: [N] bool, inputs that the service or a detector rejects; None: nothing is rejected.
        drawn: [N, M] int64 class of each draw of a random file, -1 where it names none or the input is rejected; its
            scores are then the means over the draws, or where these say otherwise the shares of the classes. None: it
            was asked once.
    """

    scores: Tensor
    rejected: Tensor | None = None
    drawn: Tensor | None = None

    @property
    def label(self) -> Tensor:
        """[N] int64 classes, -1 where an answer names none."""
        return predictions(self.scores)


class Oracle:
    """Asks the file, and the models whose gradients an attack may take; all in u-space.

    ``asked`` counts the inputs that the file was shown, by what for.

    Args:
        file: under audit.
        surrogates: the models behind ``ModelRef.SURROGATES``, by name.
        service: how attacks by queries meet the file, and what is rejected whoever asks.
        guard: a detector beside the file, which rejects inputs whoever asks.
    """

    def __init__(
        self,
        file: AuditedFile,
        surrogates: Mapping[str, Differentiable] | None = None,
        service: Service = FILE,
        guard: Guarding | None = None,
    ) -> None:
        self.classes = file.num_classes
        self.device, self.dtype = file.device, file.dtype
        self._service = service
        self.guard = guard
        self.refusals = Refusals()
        self.asked: Counter[Purpose] = Counter()
        self._file = file
        self._target = _Tolerant(file, self.classes, self.refusals)
        self._surrogates: dict[str, Differentiable] = {}
        for name, model in (surrogates or {}).items():
            self.add_surrogate(name, model)

    def add_surrogate(self, name: str, model: Differentiable) -> None:
        """A further model behind ``ModelRef.SURROGATES``, such as one that the audit has made."""
        self._surrogates[name] = _Tolerant(model, self.classes, self.refusals)

    def members(self, how: How) -> int:
        """How many surrogates gradients are taken of."""
        return len(how.members or self._surrogates)

    def ask(self, u: Tensor, purpose: Purpose, *, alone: bool = False) -> Reply:
        """Ask the file.

        Args:
            u: [N, *shape].
            purpose: what for. Clean answers of a file that returns labels are ranked by its twin where it has one.
            alone: one input a run.

        Raises:
            OutOfMemoryError: memory does not suffice for so many at once; the caller asks for fewer.
            Exception: as the runtime raises it, where the purpose does not allow for inputs that the file refuses.
        """
        if purpose is Purpose.CLEAN and self.is_random:
            return self.draw(u, purpose, WITHOUT)
        self.asked[purpose] += len(u)
        if purpose is Purpose.CLEAN:
            return self._reply(self._file.answered(u))
        if purpose not in TOLERANT:
            return self._reply(self._file.scores(u, alone=alone))

        def scores(part: Tensor) -> Tensor:
            return self._file.scores(part, alone=alone)

        # of queries the attacker is told later, and only the judge's reply is read for it
        judged = u if purpose is Purpose.JUDGE else None
        return self._reply(_each(u, scores, self.classes, self.refusals, alone=alone), judged, alone=alone)

    @property
    def is_random(self) -> bool:
        """Whether the file answers by chance, so that it is judged on many draws."""
        return isinstance(self._file, Drawn) and self._file.is_random

    def draw(self, u: Tensor, purpose: Purpose, numbers: range) -> Reply:
        """Ask a random file many times, each input alone.

        Args:
            u: [N, *shape].
            purpose: what for.
            numbers: of the draws; those of a random defense are the same each time.

        Raises:
            OutOfMemoryError, Exception: as :meth:`ask`.
        """
        file, count = self._file, len(numbers)
        assert isinstance(file, Drawn)
        self.asked[purpose] += len(u) * count

        def scores(part: Tensor) -> Tensor:
            return file.draws(part, numbers).flatten(1)

        flat = _each(u, scores, count * self.classes, self.refusals) if purpose in TOLERANT else scores(u)
        each = flat.reshape(len(u) * count, -1)
        drawn, rejected = predictions(each), self.rejects(each)
        if self.guard is not None and purpose in (Purpose.JUDGE, Purpose.CHECK):
            caught = self.guard.rejects(u, alone=True).to(each.device).repeat_interleave(count)
            rejected = caught if rejected is None else rejected | caught
        if rejected is not None:
            drawn = drawn.masked_fill(rejected, OPEN)
        drawn = drawn.reshape(len(u), count)
        mean = each.reshape(len(u), count, -1).mean(1)
        votes = torch.stack([(drawn == k).sum(1) for k in range(mean.shape[1])], 1).to(mean.dtype) / count
        votes = torch.where((drawn == OPEN).all(1)[:, None], torch.nan, votes)
        most = None if rejected is None else 2 * rejected.reshape(len(u), count).sum(1) > count
        return Reply(ranked(votes, mean), most, drawn)

    def _reply(self, scores: Tensor, u: Tensor | None = None, *, alone: bool = False) -> Reply:
        return Reply(scores, self.rejects(scores, u, alone=alone))

    def rejects(self, scores: Tensor, u: Tensor | None = None, *, alone: bool = True) -> Tensor | None:
        """[N] bool, whether the service or the detector rejects inputs; None: nothing is rejected.

        An answer that names no class is not rejected: it is none already.

        Args:
            scores: [N, K] of the inputs.
            u: [N, *shape] themselves; None: the detector is not asked.
            alone: the detector is asked about one at a time.
        """
        least, found = self._service.reject_below, None
        if least is not None:
            found = confidence(scores, self.score_kind) < least
        if self.guard is None or u is None:
            return found
        caught = self.guard.rejects(u, alone=alone).to(scores.device) & (predictions(scores) >= 0)
        return caught if found is None else found | caught

    @property
    def score_kind(self) -> Kind:
        """What the scores of the file are."""
        return self._file.score_kind

    @property
    def service(self) -> Service:
        """How attacks by queries meet the file; where it answers anew each time, repeats are charged."""
        return self._service if self.repeats_itself else replace(self._service, free_repeats=False)

    @property
    def repeats_itself(self) -> bool:
        """Whether the same input has the same answer each time."""
        return self._file.repeats_itself

    def as_input(self, u: Tensor) -> Tensor:
        """[N, ...] what tells points [N, *shape] apart: points with the same are one input to the file."""
        return self._file.as_input(u)

    def differentiable(self, model: ModelRef = ModelRef.TARGET, how: How = TRUE) -> Differentiable:
        """A model whose gradient may be taken; its logits are NaN where it refuses an input.

        Args:
            model: the target, or its surrogates.
            how: names the surrogates, and says how they are made one model; or that the target's backward is smooth.

        Raises:
            AuditError: there is no surrogate, or none of a name; or the target has no smooth backward.
        """
        if model is ModelRef.TARGET and how.smooth is not None:
            if not isinstance(self._file, Smoothing):
                raise AuditError("the model has no smooth backward")
            return _Tolerant(Smoothed(self._file, how.smooth), self.classes, self.refusals)
        if model is ModelRef.TARGET:
            return self._target
        if not self._surrogates:
            raise AuditError("the attack needs a surrogate; give one with --surrogate FILE")
        names = how.members or tuple(self._surrogates)
        if missing := [name for name in names if name not in self._surrogates]:
            raise AuditError(f"there is no surrogate {missing[0]!r}")
        if len(names) == 1:
            return self._surrogates[names[0]]
        return Ensemble(tuple(self._surrogates[name] for name in names), how.fusion)

    @property
    def whole(self) -> bool:
        """Whether some features hold whole numbers alone."""
        return self._file.whole

    def snap(self, u: Tensor, origin: Tensor) -> Tensor:
        """The nearest inputs that the file's input type can hold, rounded towards the origin."""
        return self._file.snap(u, origin)


def confidence(scores: Tensor, kind: Kind) -> Tensor:
    """[N] the highest probability that scores [N, K] give to a class; NaN where they name none."""
    if kind == "logits":
        scores = scores.double().softmax(1)
    elif kind == "log-probabilities":
        scores = scores.double().exp()
    return scores.amax(1)


@dataclass(frozen=True)
class _Tolerant:
    """A model whose logits are NaN where it refuses an input, which costs that input alone."""

    model: Differentiable
    classes: int
    refusals: Refusals

    def logits(self, u: Tensor) -> Tensor:
        """[N, *shape] to [N, K], differentiable."""
        return _each(u, self.model.logits, self.classes, self.refusals)


def _each(
    u: Tensor, run: Callable[[Tensor], Tensor], classes: int, refusals: Refusals, *, alone: bool = False
) -> Tensor:
    """All inputs together, or each alone where that fails.

    Raises:
        OutOfMemoryError: memory does not suffice for several; the caller asks for fewer.
        AuditError: it is not the input's fault.
    """
    try:
        return run(u)
    except (AuditError, UsageError):
        raise
    except REFUSALS as error:
        if len(u) > 1:
            if out_of_memory(error) and not alone:
                raise
            return torch.cat([_each(u[i : i + 1], run, classes, refusals) for i in range(len(u))])
        refusals.add(error)
        return torch.full((1, classes), torch.nan, dtype=u.dtype, device=u.device) + 0 * u.sum()
