"""Whether two audits can be compared: the same data, classes, input, threat model, attacks, seed and methods.

The model itself may differ: that is the point.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from robaudit import METHODS
from robaudit.attacks.names import numbered
from robaudit.audit.config.specs import most_access
from robaudit.audit.result.document import Data, Defended, Detecting, PerturbationSet, Result, Sample, Served, Target
from robaudit.audit.result.masking import for_the_reaction
from robaudit.errors import AuditError, RobauditError, UsageError

if TYPE_CHECKING:
    from robaudit.audit.config.request import AuditRequest

__all__ = ["check_comparable", "check_loaded", "check_request", "differences", "paired"]

OF_INPUT = ("dtype", "layout", "channels", "domain", "features", "mean", "std", "scale", "resize")
"""What the input means, besides its shape; its name, and whether it takes batches, may differ."""
NOT_COMPARED = {"access", "eps_default", "eps_text", "sets", "served"}
"""Of a threat model, what is looked at in another way, or does not matter."""
OTHER_SERVICE = "the threat model differs: what an outsider gets of the answers was another, or what duplicates cost"
WORDS = {"robust_accuracy": "robust accuracy", "stability": "stability"}


def check_comparable(base: Result, new: Result) -> None:
    """Refuse to compare audits of different things, or with an audit that cannot be relied on.

    Raises:
        AuditError: what differs, and the command that makes a new baseline.
    """
    _refuse(AuditError, next(differences(base, new), None), base, new.target.file, new.run.command)


def check_request(base: Result, request: AuditRequest) -> None:
    """The same before an audit, as far as its request tells.

    Raises:
        UsageError: as :func:`check_comparable`, but nothing was audited yet.
    """
    _refuse(UsageError, next(_of_request(base, request), None), base, str(request.model), request.command)


def check_loaded(
    base: Result, request: AuditRequest, target: Target, data: Data, sets: Sequence[PerturbationSet] = ()
) -> None:
    """The same once model and data are loaded, before anything is attacked.

    Args:
        base: the baseline.
        request: of the audit.
        target: what a result will say of it, and ``data`` likewise.
        sets: the perturbation sets.

    Raises:
        UsageError: see :func:`check_request`.
    """
    metric = "stability" if data.reference == "model" else "robust_accuracy"
    found = [
        *_of_metric(base, metric),
        *_of_data(base, target, data, data.asked or data.drawn),
        *_of_input(base, target),
        *_of_sets(base.threat_model.sets, sets),
    ]
    _refuse(UsageError, next(iter(found), None), base, str(request.model), request.command)


def _refuse(kind: type[RobauditError], found: str | None, base: Result, model: str, command: str) -> None:
    if found is not None:
        raise kind(f"the audits cannot be compared: {found}; a new baseline: {_command(base, model, command)}")


def _of_request(base: Result, request: AuditRequest) -> Iterator[str]:
    profile, threat = request.profile, base.threat_model
    yield from _of_methods(base, METHODS)
    if request.reference == "model":
        yield from _of_metric(base, "stability")
    balls = [(profile.threat.norm, profile.threat.radius), *((o.norm, o.radius) for o in profile.threat.also)]
    before = [(threat.norm, threat.eps), *((other.norm, other.eps) for other in threat.also)]
    if balls != before:
        told = [" and ".join(f"{norm} {eps:.6g}" for norm, eps in found) for found in (before, balls)]
        yield f"the threat model differs: it was {told[0]} and is {told[1]}"
    wanted, had = [spec.id for spec in profile.threat.sets], [one.id for one in threat.sets]
    if wanted != had:
        yield f"the threat model differs: what may change was {_listed(had)} and is {_listed(wanted)}"
    answers = profile.threat.answers
    service = answers.top, answers.decimals, answers.noise, answers.reject_below, profile.threat.duplicates
    if _served(threat.served) != service:
        yield OTHER_SERVICE
    if threat.goal != profile.threat.goal:
        yield f"the threat model differs: goal was {threat.goal} and is {profile.threat.goal}"
    yield from _of_seed(base, request.settings.seed)
    if not profile.threat.also:
        # the file to be audited may give less or more, which shows once it is loaded
        gradient, scores = base.target.gradient.available, base.target.head != "labels"
        most = most_access(profile.threat.access, gradient=gradient, scores=scores)
        ids = numbered(spec.id for spec in profile.attacks if spec.when in (None, most))
        if ids != [attack.id for attack in base.attacks][: len(ids)]:
            yield "the attacks differ: they are " + ", ".join(ids) + " here"
    yield from _soundness(base)


def _served(served: Served | None) -> tuple[object, ...]:
    """What an outsider gets, as far as it changes a figure."""
    served = served or Served()
    return served.top, served.decimals, served.noise, served.reject_below, served.duplicates


def _listed(sets: Sequence[str]) -> str:
    """Names of perturbation sets."""
    return " and ".join(f"a {id}" if id == "mask" else id for id in sets) or "everything"


def _command(base: Result, model: str, command: str) -> str:
    """The new audit's command on the baseline's model."""
    try:
        words = shlex.split(command)
        words[words.index(model)] = base.target.file
    except ValueError:
        return f"scan {base.target.file} with the options of `{command}`"
    kept = [word for i, word in enumerate(words) if not _is_of_comparison(words, i)]
    return shlex.join([*kept, "-o", "baseline.json"])


def _is_of_comparison(words: Sequence[str], place: int) -> bool:
    """Whether a word is an option that a baseline itself does not take, or its value."""
    options = ("--baseline", "--non-inferiority-margin", "--output", "-o", "--run-dir")
    word, before = words[place], words[place - 1] if place else ""
    return (
        word in (*options, "--dry-run")
        or before in options
        or word.startswith(tuple(f"{option}=" for option in options if option != "-o"))
    )


def differences(base: Result, new: Result) -> Iterator[str]:
    """What makes two audits incomparable, a clause each, the most telling first; the model is not looked at."""
    yield from _of_methods(base, new.tool.methods)
    yield from _of_metric(base, new.worst_case.metric)
    yield from _of_data(base, new.target, new.data, _most(new))
    pairs = paired(base, new)
    sizes = len(base.samples), len(new.samples)
    if len(pairs) < min(sizes) or (sizes[0] != sizes[1] and base.sequential is None and new.sequential is None):
        yield "the data differ: other samples were drawn"
    elif new.data.reference == "labels" and any(_relabelled(*pair) for pair in pairs):
        yield "the data differ: samples have other labels"
    yield from _of_input(base, new.target)
    yield from _of_defense(base.defense, new.defense)
    yield from _of_detector(base.detector, new.detector)
    yield from _of_sets(base.threat_model.sets, new.threat_model.sets)
    threats = [r.threat_model.model_dump(exclude=NOT_COMPARED) for r in (base, new)]
    if _served(base.threat_model.served) != _served(new.threat_model.served):
        yield OTHER_SERVICE
    for other in (other for threat in threats for other in threat["also"]):
        del other["eps_text"]  # 0.5 and 1/2 are the same
    for name in threats[0]:
        if threats[0][name] != threats[1][name]:
            yield f"the threat model differs: {name} was {_short(threats[0][name])} and is {_short(threats[1][name])}"
    yield from _of_seed(base, new.run.seed)
    yield from _of_attacks(base, new)
    yield from _soundness(base)


def paired(base: Result, new: Result) -> list[tuple[Sample, Sample]]:
    """The samples that both audits took, in data order: those of the shorter one, where one ended early."""
    before = {sample.index: sample for sample in base.samples}
    return [(before[sample.index], sample) for sample in new.samples if sample.index in before]


def _of_sets(before: Sequence[PerturbationSet], now: Sequence[PerturbationSet]) -> Iterator[str]:
    """A set is the same where its digest is, whatever its file is called."""
    if [(one.id, one.sha256) for one in before] != [(one.id, one.sha256) for one in now]:
        told = ["; ".join(one.words for one in sets) or "everything may change" for sets in (before, now)]
        if told[0] == told[1]:  # other places, and as many
            digests = [", ".join(one.sha256[:12] for one in sets) for sets in (before, now)]
            told = [f"{words}, SHA-256 {digest}" for words, digest in zip(told, digests, strict=True)]
        yield f"the threat model differs: it was that {told[0]}, and is that {told[1]}"


def _of_metric(base: Result, metric: str) -> Iterator[str]:
    if base.worst_case.metric != metric:
        yield f"the baseline measured {WORDS[base.worst_case.metric]}, and this audit {WORDS[metric]}"


def _most(result: Result) -> int:
    """Samples that the audit would have taken to its end."""
    if result.sequential is not None:
        return result.sequential.most
    return result.data.asked or result.data.drawn


def _of_methods(base: Result, methods: int) -> Iterator[str]:
    """Another version of robaudit may have made the baseline, as long as it did the same."""
    if base.tool.methods != methods:
        yield (
            f"the baseline is of robaudit {base.tool.version}, whose attacks are not those of this one "
            f"(methods {base.tool.methods}, and {methods} here)"
        )


def _of_seed(base: Result, seed: int) -> Iterator[str]:
    if base.run.seed != seed:
        yield f"the seed was {base.run.seed} and is {seed}"


def _of_input(base: Result, target: Target) -> Iterator[str]:
    theirs, mine = (spec.model_dump(mode="json") for spec in (base.target.input, target.input))
    if theirs["shape"][1:] != mine["shape"][1:]:
        yield f"the input spec differs: shape was {_short(theirs['shape'][1:])} and is {_short(mine['shape'][1:])}"
    for name in OF_INPUT:
        if theirs[name] != mine[name]:
            yield f"the input spec differs: {name} was {_short(theirs[name])} and is {_short(mine[name])}"


def _of_defense(before: Defended | None, now: Defended | None) -> Iterator[str]:
    """A file of a defense is the same where its digest is, wherever it lies."""
    chains = [() if one is None else one.chain for one in (before, now)]
    told = [[(part.id, {**part.parameters, **part.files}) for part in chain] for chain in chains]
    if told[0] != told[1]:
        words = ["none" if one is None else one.words for one in (before, now)]
        if words[0] == words[1]:
            yield f"the defense differs: a file of {words[0]} was changed"
        else:
            yield f"the defense differs: it was {words[0]} and is {words[1]}"


def _of_detector(before: Detecting | None, now: Detecting | None) -> Iterator[str]:
    """As of a defense; thresholds may differ, as they are set on each audit's own samples."""
    told = [None if d is None else (d.id, {**d.parameters, **d.files}, d.false_alarms) for d in (before, now)]
    if told[0] != told[1]:
        words = ["none" if d is None else f"{d.words} at {d.false_alarms:.1%} false alarms" for d in (before, now)]
        changed = words[0] == words[1]
        yield "the detector differs: " + ("its file was changed" if changed else f"it was {words[0]} and is {words[1]}")


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:59] + "…"


def _of_data(base: Result, target: Target, data: Data, most: int) -> Iterator[str]:
    if _most(base) != most:
        yield f"the data differ: {_most(base)} samples were drawn, and {most} are"
    elif base.data.sha256 != data.sha256:
        yield f"the data differ: their digest was {base.data.sha256[:12]} and is {data.sha256[:12]}"
    if base.target.num_classes != target.num_classes:
        yield f"the classes differ: there were {base.target.num_classes}, and there are {target.num_classes}"
    elif base.data.classes != data.classes:
        yield f"the classes differ: they were {_names(base.data)} and are {_names(data)}"


def _relabelled(before: Sample, now: Sample) -> bool:
    return before.label is not None and now.label is not None and before.label != now.label


def _names(data: Data) -> str:
    return _short(", ".join(data.classes)) if data.classes else "without names"


def _of_attacks(base: Result, new: Result) -> Iterator[str]:
    helpers = [[str(path).replace("\\", "/").rpartition("/")[2] for path in _surrogates(r)] for r in (base, new)]
    if helpers[0] != helpers[1]:
        yield f"the attacks differ: the surrogates were {_short(helpers[0])} and are {_short(helpers[1])}"
    before, now = (
        {attack.id: attack for attack in result.attacks if not for_the_reaction(attack)} for result in (base, new)
    )
    if list(before) != list(now):
        gone, added = sorted(before.keys() - now.keys()), sorted(now.keys() - before.keys())
        words = [f"without {', '.join(gone)}"] if gone else []
        words += [f"with {', '.join(added)}"] if added else []
        yield f"the attacks differ: now {' and '.join(words) or 'in another order'}"
        return
    for id, attack in now.items():
        old = before[id]
        if attack.parameters != old.parameters:
            names = {**old.parameters, **attack.parameters}
            changed = [name for name in names if old.parameters.get(name) != attack.parameters.get(name)]
            yield f"the attacks differ: {id} has another {', '.join(sorted(changed))}"
        elif (attack.norm, attack.eps, attack.goal) != (old.norm, old.eps, old.goal):
            yield f"the attacks differ: {id} has another threat model"
        elif "if_broke" not in attack.parameters and (attack.status == "skipped") != (old.status == "skipped"):
            yield f"the attacks differ: {id} was {old.status} and is {attack.status}"


def _surrogates(result: Result) -> list[Any]:
    """Paths of the surrogates; only their names are compared, because their folders may differ."""
    found = result.profile.settings.get("surrogates")
    return list(found) if isinstance(found, list) else []


def _soundness(base: Result) -> Iterator[str]:
    """Refuse a baseline that is incomplete, or whose checks failed."""
    failed = [check.id for check in base.checks if check.status == "fail"]
    if failed:
        yield f"the baseline cannot be relied on, because its checks failed ({', '.join(failed)})"
    unfinished = [a.id for a in base.attacks if a.status in ("partial", "failed", "not run", "unavailable")]
    if unfinished or not base.run.complete:
        words = f" ({', '.join(unfinished)} did not run to the end)" if unfinished else ""
        yield f"the baseline is incomplete{words}"
