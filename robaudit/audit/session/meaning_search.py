"""What the input means, searched on labelled samples where nobody says it.

Each candidate is judged as the audit would judge with it: by the file's answers, one input at a time, what one number
means measured under that candidate. One is taken only when it wins significantly, and what is taken stays *assumed*.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from robaudit.audit.journal.records.session import MeaningFound
from robaudit.audit.session.meaning_words import ALPHA, Tried, chance, equal, meaning_record, pairs
from robaudit.data.distinct import PATIENCE, values_key
from robaudit.data.source import Dataset
from robaudit.engine.oracle import Oracle, Purpose
from robaudit.engine.refusals import REFUSALS
from robaudit.errors import FinalError, UnreadableSampleError
from robaudit.plural import counted
from robaudit.stats.rates import paired_p
from robaudit.target.head.answers import predictions
from robaudit.target.inputs.candidates import candidates
from robaudit.target.reading.opened import OpenedTarget
from robaudit.target.running.watch import UNWATCHED, Watch

__all__ = ["LOOKS", "distinct_samples", "search_meaning", "with_meaning"]

LOOKS = (25, 50, 100, 200)
"""Samples after which candidates that are significantly worse than the best are dropped; the last bounds the cost."""
HOPELESS = 50
"""Samples after which the search ends if no candidate does better than chance."""
MEANING = "it was searched what the input means"


@dataclass
class _Search:
    """A search under way.

    Args:
        target: as it came; its input and its scores are read otherwise for each question.
        data: in u-space.
        tried: the candidates.
        watch: notified of the samples.
        labels: of the samples that were asked.
    """

    target: OpenedTarget
    data: Dataset
    tried: list[Tried]
    watch: Watch = UNWATCHED
    labels: list[int] = field(default_factory=list)

    def ask(self, indices: Sequence[int], points: Sequence[NDArray[Any]], labels: Sequence[int]) -> None:
        """Ask the file for samples, each read as every standing candidate has it."""
        target, head = self.target, self.target.head
        u = torch.from_numpy(np.stack(points)).to(target.device, target.dtype)
        self.labels += labels
        for one in self.tried:
            if not one.standing:
                continue
            read = target.reread(spec=one.candidate.spec(target.spec))
            try:
                with self.watch.about(MEANING, indices):
                    if one.head is None:
                        one.head = read.found_head(u) if head.single else head
                scores = self._alone(read.reread(head=one.head), indices, u)
            except FinalError:
                raise
            except REFUSALS:
                one.fails = True
                continue
            one.answers += predictions(scores).tolist()
            one.right = [answer == label for answer, label in zip(one.answers, self.labels, strict=True)]

    def _alone(self, target: OpenedTarget, indices: Sequence[int], u: torch.Tensor) -> torch.Tensor:
        """One at a time, so that it is known which one the file does not answer."""
        found: list[torch.Tensor | None] = []
        refusal: Exception | None = None
        oracle = Oracle(target)
        for index, row in zip(indices, u, strict=True):
            try:
                with self.watch.about(MEANING, [index]):
                    found.append(oracle.ask(row[None], Purpose.MEASURE, alone=True).scores)
            except FinalError:
                raise
            except REFUSALS as error:
                found.append(None)
                refusal = error
        answers = [scores for scores in found if scores is not None]
        if not answers and refusal is not None:
            raise refusal
        return torch.cat([torch.full_like(answers[0], torch.nan) if scores is None else scores for scores in found])

    def drop(self, level: float) -> None:
        """Drop candidates that the best beats significantly, each tested on the same samples."""
        standing = [t for t in self.tried if t.standing]
        best = max(standing, key=lambda t: t.count, default=None)
        for other in standing:
            if best is not None and other is not best and paired_p(*pairs(best, other)) < level:
                other.dropped = True

    def settled(self) -> bool:
        """Whether more samples would tell nothing that matters."""
        left = [t for t in self.tried if t.standing]
        if not left or all(t.near(left[0]) and t.like(left[0]) for t in left):
            return True
        if all(equal(left[0], t) for t in left[1:]):
            return True
        n = len(self.labels)
        return n >= HOPELESS and max(t.count for t in left) <= chance(self.labels, self.target.num_classes) * n


def search_meaning(
    target: OpenedTarget,
    data: Dataset,
    order: Sequence[int],
    told: Callable[[str], None] = lambda _: None,
    watch: Watch = UNWATCHED,
) -> MeaningFound | None:
    """Search what the target's input means, where that is assumed and the data has labels.

    Args:
        target: its spec says what is assumed.
        data: in u-space.
        order: indices, of which the first distinct, readable and labelled ones are used (:meth:`Dataset.spread`).
        told: of what is done, in words.
        watch: notified of the samples.

    Returns:
        A journal record for :func:`with_meaning`, or None where nothing is to be searched.
    """
    given = target.spec
    tried = [Tried(candidate) for candidate in candidates(given)]
    if len(tried) < 2 or data.labels is None:
        return None
    most = min(LOOKS[-1], len(order))
    looks = [*(look for look in LOOKS if look < most), most]
    level = ALPHA / (len(looks) * (len(tried) - 1))
    told(f"what the input means: {counted(len(tried), 'candidate')} on up to {counted(most, 'sample')}")
    search = _Search(target, data, tried, watch)
    classes = data.labels.tolist()
    samples = distinct_samples(data, [i for i in order if classes[i] >= 0])
    for look in looks:
        part = list(islice(samples, look - len(search.labels)))
        if not part:
            break
        indices = [i for i, _ in part]
        search.ask(indices, [point for _, point in part], [classes[i] for i in indices])
        search.drop(level)
        if search.settled():
            break
    return meaning_record(target, given, tried, search.labels, len(data))


def distinct_samples(data: Dataset, order: Sequence[int]) -> Iterator[tuple[int, NDArray[Any]]]:
    """Indices and samples [*shape] that can be read, each content once: a copy is no further evidence.

    It ends where none was new for long.
    """
    seen: set[bytes] = set()
    in_vain = 0
    for index in order:
        if in_vain >= PATIENCE:
            return
        in_vain += 1
        try:
            point = data.load(index)
        except UnreadableSampleError:
            continue
        if (key := values_key(point)) not in seen:
            seen.add(key)
            in_vain = 0
            yield index, point


def with_meaning(target: OpenedTarget, record: MeaningFound) -> OpenedTarget:
    """The target with its input read as a record says; in provenance and facts it stays assumed."""
    changes: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in record.changes.items()}
    spec = dataclasses.replace(target.spec, **changes, provenance={**target.spec.provenance, **record.provenance})
    search = {
        "taken": record.taken,
        "sentence": record.sentence,
        "samples": record.samples,
        "of": record.of,
        "evaluations": record.evaluations,
        "alpha": record.alpha,
        "candidates": [dataclasses.asdict(tried) for tried in record.candidates],
    }
    return dataclasses.replace(target, spec=spec, facts={**target.facts, "input search": search})
