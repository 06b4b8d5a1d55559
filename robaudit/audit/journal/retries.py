"""What a retry takes back."""

from __future__ import annotations

from collections.abc import Sequence

from robaudit.audit.journal.records.findings import CheckEnded
from robaudit.audit.journal.records.kinds import AnyRecord
from robaudit.audit.journal.records.samples import CleanSample, LostSample, Retry
from robaudit.audit.journal.records.units import AnyUnit
from robaudit.engine.units import sample_of

__all__ = ["kept_beside"]


def kept_beside(retry: Retry, records: Sequence[AnyRecord]) -> list[AnyRecord]:
    """The records that count beside a retry: none that says of its samples that they are lost, or is of its checks."""
    messages = {record.sample: record.message for record in records if isinstance(record, LostSample)}
    lost = {sample: messages[sample] for sample in retry.samples if sample in messages}

    def counts(record: AnyRecord) -> bool:
        if isinstance(record, LostSample):
            return record.sample not in lost
        if isinstance(record, CleanSample):
            return record.error is None or record.error != lost.get(record.index)
        if isinstance(record, AnyUnit):
            return record.error is None or record.error != lost.get(sample_of(record.sample))
        return not isinstance(record, CheckEnded) or record.id not in retry.checks

    return [record for record in records if counts(record)]
