"""The drawn samples as the engine sees them: their clean answers, and the samples themselves when they are needed."""

from __future__ import annotations

import contextlib
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, overload

import numpy as np
import torch
from numpy.typing import NDArray

from robaudit.audit.journal.journal import Journal
from robaudit.audit.journal.records.samples import CleanSample
from robaudit.audit.session.goal_choice import Chooser
from robaudit.engine.care import NO_CARE, Care
from robaudit.engine.oracle import Oracle, Purpose
from robaudit.engine.units import Sample, cases, sample_of
from robaudit.errors import FinalError, UnreadableSampleError, reason
from robaudit.target.head.answers import NO_CLASS, OPEN, predictions
from robaudit.target.measures.gradient import mixed_gradient
from robaudit.target.reading.opened import OpenedTarget
from robaudit.target.running.attributed import Differentiable
from robaudit.target.running.watch import UNWATCHED, Watch
from robaudit.threat.goals import is_right

__all__ = [
    "CACHE_BYTES",
    "Asking",
    "CleanAnswer",
    "LazySamples",
    "SampleStore",
    "answer_samples",
    "ask_alone",
    "content_digest",
]

CACHE_BYTES = 256 * 2**20


class Source(Protocol):
    """Data in u-space."""

    def load(self, index: int) -> NDArray[Any]:
        """[*shape] float32 in [0, 1]; raises UnreadableSampleError."""
        ...


class NamedSource(Source, Protocol):
    """Data with a name for each sample, and labels if it has them."""

    ids: Sequence[str]
    labels: NDArray[np.int64] | None


@dataclass(frozen=True)
class CleanAnswer:
    """The file's answer to an unperturbed sample, of the reference class ``label``; ``digest`` of its content.

    ``goals`` are the classes that it is to be made to answer, none where the goal does not apply to it; None: any.
    """

    index: int
    label: int
    prediction: int
    digest: str
    goals: tuple[int, ...] | None = None
    rejected: bool = False

    @property
    def correct(self) -> bool:
        """Whether it is the reference class, and the service does not reject the sample."""
        return bool(is_right(self.prediction, self.label, self.rejected))


def content_digest(u: NDArray[Any]) -> str:
    """Digest of a sample's content, which keys its random numbers whatever its place in the data."""
    return hashlib.blake2b(np.ascontiguousarray(u).tobytes(), digest_size=16).hexdigest()


class SampleStore:
    """Samples by number of their case, with a bounded cache.

    Args:
        source: the data.
        journal: holds the clean answers, their scores on disk.
    """

    def __init__(self, source: Source, journal: Journal) -> None:
        self._source = source
        self._journal = journal
        self._records = {i: r for i, r in sorted(journal.keyed(CleanSample, "index").items()) if r.error is None}
        self.answers = {i: _answer_of(record) for i, record in self._records.items()}
        self._cache: OrderedDict[int, Sample] = OrderedDict()
        self._bytes = 0

    def __call__(self, case: int) -> Sample:
        """Load the sample of a case, with the class to reach.

        Raises:
            UnreadableSampleError: it cannot be read.
        """
        sample, goal = self._load(sample_of(case)), self.goal(case)
        return sample if goal < 0 else replace(sample, index=case, goal=goal)

    def goal(self, case: int) -> int:
        """The class to reach in a case, or -1."""
        index = sample_of(case)
        return cases(index, self.answers[index].goals).get(case, -1)

    def lead(self, case: int) -> float:
        """Lead of the class to reach, or the best other one, over the label in the file's unperturbed answer."""
        answer, goal = self.answers[sample_of(case)], self.goal(case)
        scores = self._journal.point(self._records[answer.index])
        assert scores is not None
        return float((np.delete(scores, answer.label).max() if goal < 0 else scores[goal]) - scores[answer.label])

    def _load(self, index: int) -> Sample:
        if index in self._cache:
            self._cache.move_to_end(index)
            return self._cache[index]
        u = self._source.load(index)
        answer = self.answers[index]
        scores = self._journal.point(self._records[index])
        assert scores is not None
        sample = Sample(index, u, answer.label, scores, answer.digest)
        self._cache[index] = sample
        self._bytes += u.nbytes
        while self._bytes > CACHE_BYTES and len(self._cache) > 1:
            _, dropped = self._cache.popitem(last=False)
            self._bytes -= dropped.u.nbytes
        return sample

    def correct(self) -> list[int]:
        """Indices of all samples answered correctly, in data order, those that the goal leaves out among them."""
        return [i for i, answer in self.answers.items() if answer.correct]

    def standing(self, broken: Callable[[int], bool] = lambda _: False) -> list[int]:
        """Cases of samples answered correctly that are not broken, in data order."""
        found = ((i, self.answers[i].goals) for i in self.correct())
        return [case for i, goals in found for case in cases(i, goals) if not broken(case)]


def _answer_of(record: CleanSample) -> CleanAnswer:
    """Of a sample without an error."""
    assert record.label is not None
    assert record.prediction is not None
    assert record.digest is not None
    return CleanAnswer(record.index, record.label, record.prediction, record.digest, record.goals, record.rejected)


class LazySamples(Sequence[Sample]):
    """Samples of a store, each loaded when it is looked at."""

    def __init__(self, store: SampleStore, indices: Sequence[int]) -> None:
        self._store, self._indices = store, indices

    def __len__(self) -> int:
        return len(self._indices)

    @overload
    def __getitem__(self, place: int) -> Sample: ...
    @overload
    def __getitem__(self, place: slice) -> LazySamples: ...
    def __getitem__(self, place: int | slice) -> Sample | LazySamples:
        if isinstance(place, slice):
            return LazySamples(self._store, self._indices[place])
        return self._store(self._indices[place])


@dataclass(frozen=True)
class Asking:
    """How samples are asked.

    Args:
        own_reference: the file's own answer is the reference class.
        batch: samples loaded at once.
        goals: decides the classes to reach; None: any wrong one.
        care: samples that are not asked, and those that are asked alone.
        watch: notified of the samples.
    """

    own_reference: bool
    batch: int
    goals: Chooser | None = None
    care: Care = NO_CARE
    watch: Watch = UNWATCHED

    def parts(self, indices: Sequence[int]) -> Iterator[list[int]]:
        """The samples that are loaded and asked together."""
        apart = self.care.suspects | self.care.lost.keys()
        yield from ([index] for index in indices if index in apart)
        others = [index for index in indices if index not in apart]
        yield from (others[i : i + self.batch] for i in range(0, len(others), self.batch))


def answer_samples(
    oracle: Oracle, data: NamedSource, indices: Sequence[int], asking: Asking
) -> Iterator[tuple[CleanSample, NDArray[Any] | None]]:
    """Ask the file for samples; one that cannot be read or answered costs itself alone.

    Args:
        oracle: asks the file.
        data: the samples.
        indices: of those asked.
        asking: how.

    Yields:
        A record for each, with its scores [K] where they name a class.
    """
    labels = None if asking.own_reference else data.labels
    for part in asking.parts(indices):
        found, errors = _loaded(data, part, asking.care)
        with asking.watch.about("it was asked for its clean answers", list(found)):
            answers = dict(zip(found, _said(oracle, list(found.values())), strict=True))
        for index in part:
            answer = answers.get(index, errors.get(index, ""))
            label = None if labels is None or labels[index] < 0 else int(labels[index])
            blank = CleanSample(
                index=index,
                id=data.ids[index],
                label=label,
                prediction=None,
                digest=None,
                error=None,
                unlabelled=labels is not None and label is None,
            )
            if not isinstance(answer, str) and int(predictions(answer.scores[None])[0]) == OPEN:
                answer = NO_CLASS
            if isinstance(answer, str):
                yield replace(blank, error=answer), None
            else:
                point = torch.from_numpy(found[index])[None].to(oracle.device, oracle.dtype)
                rejects = oracle.rejects(torch.from_numpy(answer.scores)[None], point)
                rejected = answer.rejected or (rejects is not None and bool(rejects[0]))
                record = _answered(blank, found[index], answer.scores, asking.goals)
                wrong = None if answer.drawn is None else int((answer.drawn != record.label).sum())
                yield replace(record, rejected=rejected, wrong=wrong), answer.scores


def _loaded(data: Source, part: Sequence[int], care: Care) -> tuple[dict[int, NDArray[Any]], dict[int, str]]:
    """Samples [*shape], and why others are not there."""
    found: dict[int, NDArray[Any]] = {}
    errors: dict[int, str] = {}
    for index in part:
        if index in care.lost:
            errors[index] = care.lost[index]
            continue
        try:
            found[index] = data.load(index)
        except UnreadableSampleError as error:
            errors[index] = str(error)
    return found, errors


def _answered(blank: CleanSample, u: NDArray[Any], scores: NDArray[Any], goals: Chooser | None) -> CleanSample:
    """The record of a sample that is answered; without a label the answer is the reference class."""
    prediction, digest = int(scores.argmax()), content_digest(u)
    label = prediction if blank.label is None else blank.label
    choice = None if goals is None else goals(blank.index, label, scores, digest)
    return replace(
        blank,
        label=label,
        prediction=prediction,
        digest=digest,
        smallest=int(scores.argmin()),
        goals=None if choice is None else tuple(choice.classes),
        left_out=None if choice is None else choice.left_out,
    )


@dataclass(frozen=True)
class _Said:
    """What the file says of a sample: its scores [K], whether it rejects it, and of a random one each draw's class."""

    scores: NDArray[Any]
    rejected: bool
    drawn: NDArray[np.int64] | None


def _said(oracle: Oracle, points: list[NDArray[Any]]) -> list[_Said | str]:
    """The answer to each point, or why there is none."""
    if not points:
        return []
    try:
        u = torch.from_numpy(np.stack(points)).to(oracle.device, oracle.dtype)
        reply = oracle.ask(u, Purpose.CLEAN)
        rows = range(len(points))
        rejected = [False for _ in rows] if reply.rejected is None else reply.rejected.tolist()
        drawn = [None for _ in rows] if reply.drawn is None else list(reply.drawn.cpu().numpy())
        return [_Said(*one) for one in zip(reply.scores.cpu().numpy(), rejected, drawn, strict=True)]
    except FinalError:
        raise
    except Exception as error:  # runtimes raise their own types
        if len(points) == 1:
            return [f"the model cannot answer it: {reason(error)}"]
    return [answer for point in points for answer in _said(oracle, [point])]


def ask_alone(
    target: OpenedTarget, slope: Differentiable | None, data: Source, suspects: Collection[int], watch: Watch
) -> None:
    """Ask for each of the samples of which one hung or crashed the model, so that the watch names it.

    Args:
        target: whose scores are asked.
        slope: the model whose gradient is asked; None: that of none.
        data: the samples.
        suspects: their indices.
        watch: notified of the samples; what the answers are is of no matter.
    """
    for index in sorted(suspects):
        with watch.about("", [index]), contextlib.suppress(Exception):
            u = torch.from_numpy(data.load(index))[None].to(target.device, target.dtype)
            Oracle(target).ask(u, Purpose.MEASURE, alone=True)
            if slope is not None:
                mixed_gradient(u.clone().requires_grad_(), slope.logits)
