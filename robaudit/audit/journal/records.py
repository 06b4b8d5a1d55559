"""What each kind of journal record holds, checked when a journal is read back."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from robaudit.audit.journal.causes import Cause

__all__ = ["ADAPTER", "JOURNAL", "POINTS", "Record", "fits"]

JOURNAL, POINTS = "journal.jsonl", "points.bin"

Record = dict[str, Any]

Count = Annotated[int, Field(ge=0)]
Outcome = Literal["done", "partial", "failed"]


class _Record(BaseModel):
    """Fields and their types; what else a record holds is sealed like these, and read by whoever wrote it."""

    model_config = ConfigDict(strict=True, extra="ignore")


class Point(_Record):
    """Where an array lies in the file of points, and the SHA-256 of its bytes."""

    shape: list[Count]
    dtype: Annotated[str, Field(pattern=r"^(float|int|uint)(8|16|32|64)$")]
    offset: Count
    bytes: Count
    sha256: str


class _Unit(_Record):
    attack: str
    sample: Count
    restart: Count
    target: Count
    success: bool
    prediction: int
    distance: float | None
    forwards: Count
    backwards: Count
    queries: Count
    judged: Count
    refused: Count
    error: str | None
    point: Point | None = None


class Unit(_Unit):
    """A finished unit of an attack; of the curve with its radius, and whether the judge confirmed it there."""

    kind: Literal["unit"]
    verified: bool = False
    radius: float | None = None


class CheckUnit(_Unit):
    """A finished unit of an attack that a check ran; ``job`` is the digest of the attack and its threat model."""

    kind: Literal["check unit"]
    check: str
    job: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Clean(_Record):
    """The model's answer to a sample as it is."""

    kind: Literal["clean"]
    index: Count
    id: str
    label: int | None
    prediction: int | None
    digest: str | None
    error: str | None
    unlabelled: bool = False
    goals: list[int] | None = None
    left_out: str | None = None
    point: Point | None = None


class Attack(_Record):
    """What became of an attack."""

    kind: Literal["attack"]
    id: str
    status: Outcome
    reason: str | None
    seconds: float
    cause: Cause | None = None


class Planned(_Record):
    """An attack of the plan, as a report tells of it."""

    id: str
    name: str
    access: str
    status: str
    reason: str | None
    parameters: dict[str, Any]
    norm: str
    phase: str = ""


class Fit(_Record):
    """A round of the fit of an attack, with the artefact after it; ``of`` is the digest of what it is fitted on."""

    kind: Literal["fit"]
    attack: str
    round: Count
    rounds: Count
    samples: Count
    of: str
    forwards: Count
    backwards: Count
    queries: Count
    seconds: float
    family: Literal["universal", "patch", "spatial", "per sample"]
    arrays: dict[str, list[Count]]
    point: Point | None = None


class Plan(_Record):
    """All attacks, before they run."""

    kind: Literal["plan"]
    attacks: list[Planned]


class Check(_Record):
    """What a check measured, or why it could not, and what it cost in evaluations."""

    kind: Literal["check"]
    id: str
    seconds: float
    measured: dict[str, Any] = Field(default_factory=dict)
    failed: str = ""
    forwards: Count = 0
    backwards: Count = 0
    queries: Count = 0
    judged: Count = 0
    unanswered: bool = False
    limit: float | None = None


class LookGate(_Record):
    """A gate at a look."""

    metric: str
    min: float | None
    max: float | None
    k: Count
    n: Count
    low: float
    high: float
    decision: Literal["pass", "fail", "open"]


class Look(_Record):
    """A look of a sequential audit."""

    kind: Literal["look"]
    number: Annotated[int, Field(ge=1)]
    samples: Count
    share: float
    indices: list[Count]
    passed: dict[str, Any]
    attacks: dict[str, list[str | None]]
    gates: list[LookGate]
    stopped: Literal["decided", "exhausted"] | None


class Described(_Record):
    """What the result tells of the model or the machine; its own schema checks the rest."""

    kind: Literal["target", "environment"]


class Data(_Record):
    """What the result tells of the data, and which samples were drawn."""

    kind: Literal["data"]
    ids: list[str]
    indices: list[Count]
    drawn: Count
    reference: Literal["labels", "model"]
    notes: list[str]


class Sets(_Record):
    """The perturbation sets that the user chose; the result's schema checks the rest."""

    kind: Literal["sets"]
    sets: list[dict[str, Any]]


class Meaning(_Record):
    """What a search for the input's meaning found."""

    kind: Literal["meaning"]
    model: str
    taken: str | None
    changes: dict[str, Any]
    provenance: dict[str, str]
    sentence: str


class Lost(_Record):
    """A sample that the model hung or crashed on; of a hang the seconds that a forward call might take."""

    kind: Literal["lost"]
    sample: Count
    name: str
    message: str
    limit: float | None = None


class Retry(_Record):
    """Lost samples that are asked again, and checks that are carried out again: what is said of them counts no more."""

    kind: Literal["retry"]
    samples: list[Count]
    checks: list[str]


class Auxiliary(_Record):
    """Whether a model beside the one under audit can be used; the newest of each key counts.

    ``ended``: it ended a process, under those ``limits``, while that ``attack`` ran.
    """

    kind: Literal["auxiliary"]
    key: str
    name: str
    problem: str | None
    ended: bool = False
    limits: list[float | str | None] = Field(default_factory=list)
    attack: str | None = None


class Session(_Record):
    """A session had loaded the model."""

    kind: Literal["session"]
    started: str


class Spent(_Record):
    """A session ended."""

    kind: Literal["spent"]
    began: str
    seconds: float


class Budget(_Record):
    """The time of a session was over."""

    kind: Literal["budget"]
    seconds: float | None


class Batch(_Record):
    """The batch size of a session."""

    kind: Literal["batch"]
    size: Annotated[int, Field(ge=1)]


class Note(_Record):
    """A sentence for the result."""

    kind: Literal["note"]
    message: str


class Certificate(_Record):
    """What a certifier found of a sample; ``margin`` null where nothing bounds it."""

    kind: Literal["certificate"]
    id: str
    sample: Count
    proved: bool
    margin: float | None
    seconds: float
    error: str | None


class Certifier(_Record):
    """What became of a certifier."""

    kind: Literal["certifier"]
    id: str
    status: Literal["done", "partial", "skipped", "failed"]
    reason: str | None


class Evidence(_Record):
    """The archive of adversarial examples."""

    kind: Literal["evidence"]
    path: str | None
    sha256: str | None
    count: Count
    nearest: Count
    artefacts: list[str] = Field(default_factory=list)


class Tests(_Record):
    """The tests that were there before this audit, and of what."""

    kind: Literal["tests"]
    of: str
    before: list[dict[str, Any]]


class Sealed(_Record):
    """A result file was written, with this SHA-256."""

    kind: Literal["result"]
    sha256: str


_Work = (
    Unit | CheckUnit | Clean | Attack | Fit | Plan | Check | Look | Lost | Retry | Auxiliary | Evidence | Certificate
)
_Facts = Described | Data | Sets | Meaning | Session | Spent | Budget | Batch | Note | Tests | Sealed | Certifier
ADAPTER: TypeAdapter[Any] = TypeAdapter(Annotated[_Work | _Facts, Field(discriminator="kind")])


def fits(record: Any) -> bool:
    """Whether a JSON value is a record of a known kind, all of whose fields have their types."""
    try:
        ADAPTER.validate_python(record)
    except (ValidationError, RecursionError):
        return False
    return True
