"""What an ``endpoint.yaml`` says: where a classifier is served, how it is asked, and what that costs. No torch here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    JsonValue,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from robaudit.documents import Document, read_yaml
from robaudit.errors import UsageError
from robaudit.files import digest_of
from robaudit.query_rate import QueryRate, parse_query_rate
from robaudit.suggest import did_you_mean
from robaudit.target.files.remote.address import Address, parse_address
from robaudit.target.files.remote.paths import parse_path

__all__ = ["Allowed", "Auth", "Endpoint", "Price", "Request", "Response", "Tensor", "is_endpoint", "read_endpoint"]

SUFFIXES = (".yaml", ".yml")
BATCHED = 16
"""Inputs in one request by the Open Inference Protocol where nobody says how many a server takes."""
Count = Annotated[int, Field(ge=1, le=65536, strict=True)]
Name = Annotated[str, StringConstraints(min_length=1)]
DTYPES = Literal["float16", "float32", "float64", "uint8", "int8", "uint16", "int16", "int32", "int64"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Auth(_Part):
    """Where the secret is that each request is sent with; the secret itself never stands here."""

    env: Name | None = None
    """Variable of the environment that holds it."""
    file: Name | None = None
    """File that holds it, from the folder of this one."""
    header: Name | None = "Authorization"
    """Header that it is sent in."""
    query: Name | None = None
    """Parameter of the address that it is sent in, in place of a header."""
    prefix: str = "Bearer "
    """What stands before it in the header."""

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if (self.env is None) == (self.file is None):
            raise ValueError("give env, the name of a variable that holds the secret, or file")
        return self


class Price(_Part):
    """What the service charges."""

    amount: Annotated[FiniteFloat, Field(gt=0)]
    """Of one query, or of one request."""
    per: Literal["query", "request"] = "query"
    """A query is one input that is answered; a request may hold several."""
    currency: Annotated[str, StringConstraints(min_length=1, max_length=12)] = "USD"
    """For the report."""

    def most(self, queries: int) -> float:
        """Most that so many queries may cost, were each a request of its own."""
        return self.amount * queries


class Allowed(_Part):
    """What is refused unless it stands here."""

    plain_http: bool = False
    """Send inputs unencrypted to another machine."""
    bad_certificates: bool = False
    """Send inputs to a server whose certificate cannot be verified."""
    redirects: tuple[Name, ...] = ()
    """Other hosts that the server may redirect to; the secret is not sent to them."""


class Tensor(_Part):
    """An input or output, where the server does not say it."""

    name: Name
    """As the server calls it."""
    shape: tuple[Annotated[int, Field(ge=1)] | None, ...] | None = None
    """With the batch first; null where a size is free."""
    dtype: DTYPES | Literal["string"] = "float32"
    """NumPy's name; ``string`` for outputs that are texts."""


class Request(_Part):
    """What is sent, of a service that has a form of its own."""

    body: Mapping[str, JsonValue] | list[JsonValue] | None = Field(default=None, alias="json")
    """JSON, in which ``$image``, ``$images``, ``$row`` and ``$rows`` stand for inputs."""
    multipart: dict[Name, str] | None = None
    """Fields of a form; ``$image`` is a PNG file."""
    headers: dict[Name, str] = {}
    """Further headers; no secrets."""

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if (self.body is None) == (self.multipart is None):
            raise ValueError("give json or multipart: what is sent")
        return self


class Response(_Part):
    """Where in the answer the class scores, or labels, are."""

    scores: str | None = None
    """Path of the scores."""
    labels: str | None = None
    """Path of the label, where there are no scores."""
    names: str | None = None
    """Path of the classes that the scores are of, where they come in an order of their own."""
    classes: tuple[str, ...] | None = None
    """The classes in order; wanted with ``names``, and with labels that are texts."""
    missing: FiniteFloat | None = None
    """Score of a class that an answer leaves out; null: all must be there."""

    @field_validator("scores", "labels", "names")
    @classmethod
    def _is_path(cls, value: str | None) -> str | None:
        if value is not None:
            parse_path(value)
        return value

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if (self.scores is None) == (self.labels is None):
            raise ValueError("give scores or labels: the path of the answers")
        if self.names is not None and (self.scores is None or not self.classes):
            raise ValueError("names go with scores, and with classes, which say the order")
        return self


class Endpoint(_Part):
    """A classifier behind HTTP."""

    url: str
    """Address; by the Open Inference Protocol that of the model, https://HOST/v2/models/NAME."""
    protocol: Literal["oip", "template"] = "oip"
    """``oip``: the Open Inference Protocol v2; ``template``: as ``request`` and ``response`` say."""
    max_batch: Count | None = None
    """Most inputs in one request; null: 16 by the Open Inference Protocol, else 1."""
    concurrency: Count = 8
    """Most requests at a time."""
    rate: QueryRate | None = None
    """Most inputs that are sent in a time, such as 60/min; null: as many as are answered."""
    timeout: Annotated[FiniteFloat, Field(gt=0)] = 60.0
    """Seconds for one request."""
    attempts: Annotated[int, Field(ge=1, le=50, strict=True)] = 5
    """How often a request is sent at most that is not answered, or answered with 429, 502, 503 or 504."""
    auth: Auth | None = None
    """The secret that requests are sent with."""
    price: Price | None = None
    """What the service charges; with it an audit takes --max-cost."""
    allow: Allowed = Allowed()
    """What is refused otherwise."""
    ca: Name | None = None
    """File with the certificates that are trusted, from the folder of this one."""
    input: Tensor | None = None
    """The attacked input, where the server does not say it."""
    outputs: tuple[Tensor, ...] | None = None
    """The outputs, likewise."""
    request: Request | None = None
    """What is sent, by ``template``."""
    response: Response | None = None
    """Where the answers are, by ``template``."""

    @model_validator(mode="before")
    @classmethod
    def _finds_protocol(cls, content: Any) -> Any:
        if isinstance(content, dict) and "protocol" not in content and "request" in content:
            return {**content, "protocol": "template"}
        return content

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        self.address.check(plain_http=self.allow.plain_http)
        if self.protocol == "template":
            for name in ("request", "response", "input"):
                if getattr(self, name) is None:
                    raise ValueError(f"{name} is missing, which a template takes")
            if self.outputs is not None:
                raise ValueError("outputs are what response says; leave them out")
            if self.input is not None and self.input.shape is None:
                raise ValueError("input.shape is missing, which a template takes")
        elif self.request is not None or self.response is not None:
            raise ValueError("request and response are of protocol: template")
        return self

    @property
    def address(self) -> Address:
        """The address in parts."""
        return parse_address(self.url)

    @property
    def batch(self) -> int:
        """Most inputs in one request."""
        return self.max_batch or (BATCHED if self.protocol == "oip" else 1)

    @property
    def per_second(self) -> float | None:
        """Most inputs that are sent in a second."""
        return None if self.rate is None else parse_query_rate(self.rate)

    @property
    def ports(self) -> tuple[int, ...]:
        """Ports of other machines that are connected to."""
        return tuple(sorted({self.address.port, *((80, 443) if self.allow.redirects else ())}))

    def identity(self) -> str:
        """Digest of what decides the answers: not of how fast, with which secret and at what price they are had."""
        apart = {"max_batch", "concurrency", "rate", "timeout", "attempts", "auth", "price", "allow", "ca"}
        return digest_of(self.model_dump(mode="json", exclude=apart))


def is_endpoint(path: Path) -> bool:
    """Whether a file is taken for an ``endpoint.yaml``."""
    return path.suffix.lower() in SUFFIXES


def read_endpoint(path: Path) -> Endpoint:
    """What such a file says.

    Raises:
        UsageError: it cannot be read, or a value cannot be used: file and line, and what is wrong.
    """
    document = read_yaml(path)
    if not isinstance(document.content, dict) or "url" not in document.content:
        raise UsageError(
            f"{path} is no endpoint, which has a url; give an ONNX or TorchScript file, or an endpoint.yaml"
        )
    try:
        return Endpoint.model_validate(document.content)
    except ValidationError as error:
        raise _refused(error, document) from error


def _refused(error: ValidationError, document: Document) -> UsageError:
    """The first fault in one sentence."""
    first = error.errors()[0]
    location = [str(part) for part in first["loc"]]
    where, key = document.where(first["loc"]), ".".join(location)
    if first["type"] == "extra_forbidden":
        return UsageError(f"{where}: unknown key {key!r}{did_you_mean(location[-1], _keys(first['loc'][:-1]))}")
    cause = first.get("ctx", {}).get("error")
    message = str(cause) if isinstance(cause, Exception) else first["msg"]
    return UsageError(f"{where}: {key + ': ' if key else ''}{message}")


def _keys(location: Sequence[int | str]) -> list[str]:
    """Keys that may stand at a location."""
    parts: dict[str, type[BaseModel]] = {
        "auth": Auth, "price": Price, "allow": Allowed, "input": Tensor, "outputs": Tensor, "request": Request,
        "response": Response,
    }  # fmt: skip
    fields = (parts.get(str(location[0]), Endpoint) if location else Endpoint).model_fields
    return [field.alias or name for name, field in fields.items()]
