"""The surrogates of an audit: made where an attack first needs them, compared with the target, and told of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from robaudit.audit.journal.auxiliary import SURROGATE
from robaudit.audit.journal.events import Note
from robaudit.audit.journal.fits import SURROGATES
from robaudit.audit.journal.records.attacks import SurrogateKnown
from robaudit.audit.plan.surrogates import PlannedSurrogate
from robaudit.audit.result.transfer import LITTLE
from robaudit.audit.session.fitting import Fitter
from robaudit.audit.session.loaded import Beside, Loaded
from robaudit.audit.session.samples import SampleStore
from robaudit.audit.session.shared import Shared
from robaudit.engine.oracle import Oracle
from robaudit.errors import AuditError, FinalError, RobauditError, UnreadableSampleError
from robaudit.threat.model import ThreatModel
from robaudit.threat.random import key_of

__all__ = ["Surrogates"]

COMPARED = 100
"""Most audited samples on which a surrogate that was given is compared with the target."""


@dataclass
class Surrogates:
    """The surrogates behind an oracle.

    Args:
        loaded: its files are known to the oracle already.
        oracle: takes what is made.
        fitter: makes it.
        plan: what can be made.
        threat: at whose radius points on the way are made.
        shared: its journal takes what is known of each.
    """

    loaded: Loaded
    oracle: Oracle
    fitter: Fitter
    plan: Sequence[PlannedSurrogate]
    threat: ThreatModel
    shared: Shared
    _made: set[str] = field(default_factory=set)
    _failed: dict[str, str] = field(default_factory=dict)

    def ready(self, names: Sequence[str], store: SampleStore) -> tuple[str, ...] | None:
        """Those of some surrogates that are there, made where they were not; None where the audit was told to stop.

        Args:
            names: of the surrogates; none: all files.
            store: audited samples, on which files are compared.

        Raises:
            AuditError: there is none of them.
        """
        mine = [other for other in self.loaded.beside if other.auxiliary.role == SURROGATE]
        files = {other.auxiliary.short: other for other in mine}
        found = []
        for name in names or tuple(files):
            one = next((one for one in self.plan if one.name == name), None)
            if name in files:
                self._compare(files[name], store)
            elif one is None:
                continue
            elif name not in self._made | self._failed.keys():
                self.shared.observer(Note(f"the surrogate {name} is made", "info"))
                if not self._make(one):
                    return None
            if name in files or name in self._made:
                found.append(name)
        if not found:
            raise AuditError(next(iter(self._failed.values()), "there is no surrogate"))
        return tuple(found)

    def tell_unneeded(self) -> None:
        """Tell of those that nothing came to need, at the end."""
        known = self.shared.journal.keyed(SurrogateKnown, "name")
        for one in self.plan:
            if one.name not in known:
                missing = one.problem is not None and not one.optional
                self._tell(one, status="failed" if missing else "not needed", reason=one.problem)

    def _make(self, one: PlannedSurrogate) -> bool:
        """Make a surrogate; whether that came to its end, be it that it failed."""
        target = self.loaded.target
        try:
            if one.problem is not None:
                raise AuditError(one.problem)
            artefact = self.fitter.fit(SURROGATES + one.name, one.recipe, self.threat)
            if artefact is None:
                return False
            model = one.recipe.model(artefact, target.num_classes, target.spec.shape)
        except FinalError:
            raise
        except Exception as error:  # one that fails costs the attacks that need it alone
            why = " ".join(str(error).split())
            why = why if isinstance(error, RobauditError) else f"{type(error).__name__}: {why}"
            self._failed[one.name] = f"the surrogate {one.name} cannot be made: {why}"
            self._tell(one, status="failed", reason=why)
            self.shared.observer(Note(self._failed[one.name], "warning"))
            return True
        self.oracle.add_surrogate(one.name, model)
        self._made.add(one.name)
        agreed, compared, trained = (int(artefact[key]) for key in ("agreed", "held_out", "trained_on"))
        told = {"sha256": one.recipe.digest(artefact), "agreed": agreed, "compared": compared, "on": "held-out"}
        if self.shared.journal.last(SurrogateKnown, name=one.name) is None:
            self._warn(one.name, agreed, compared)
        self._tell(one, status="used", trained_on=trained, **told)
        return True

    def _tell(self, one: PlannedSurrogate, **facts: Any) -> None:
        plain: dict[str, Any] = {"agreed": 0, "compared": 0, "trained_on": 0}
        plain |= {"name": one.name, "origin": "made", "recipe": one.recipe.id, "parameters": one.parameters}
        self._append(SurrogateKnown(**(plain | facts)))

    def _append(self, record: SurrogateKnown) -> None:
        """Journal what is news."""
        if self.shared.journal.last(SurrogateKnown, name=record.name) != record:
            self.shared.journal.append(record)

    def _compare(self, other: Beside, store: SampleStore) -> None:
        """Journal how often a file has the target's class on audited samples."""
        name = other.auxiliary.short
        if self.shared.journal.last(SurrogateKnown, name=name) is not None:
            return
        chosen = sorted(store.answers.values(), key=lambda a: (key_of("compared", a.digest), a.index))[:COMPARED]
        agreed = compared = 0
        for answer in chosen:
            try:
                u = torch.from_numpy(np.ascontiguousarray(store(answer.index).u))[None]
            except UnreadableSampleError:
                continue
            with torch.no_grad():
                logits = other.attributed.logits(u.to(self.oracle.device, self.oracle.dtype))
            agreed, compared = agreed + (int(logits.argmax(1)) == answer.prediction), compared + 1
        self._warn(name, agreed, compared)
        self._append(
            SurrogateKnown(
                name=name,
                origin="file",
                status="used",
                file=str(other.auxiliary.path),
                parameters={},
                sha256=other.target.sha256,
                agreed=agreed,
                compared=compared,
                on="audited",
                trained_on=0,
            )
        )

    def _warn(self, name: str, agreed: int, compared: int) -> None:
        if compared and agreed < LITTLE * compared:
            self.shared.note(
                f"the surrogate {name} has the model's class on {agreed} of {compared} samples alone, so that attacks "
                "made on it say little"
            )
