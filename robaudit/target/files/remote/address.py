"""Addresses of endpoints: what is refused, and how they are shown."""

from __future__ import annotations

import hashlib
import ipaddress
import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from robaudit.errors import UsageError
from robaudit.files import write_atomic

__all__ = ["Address", "is_loopback", "model_path", "parse_address"]

FOLDER = Path(".robaudit") / "endpoints"
URL = re.compile(r"(https?):/+(.+)", re.IGNORECASE | re.DOTALL)
PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Address:
    """A URL in parts.

    Args:
        scheme: http or https.
        host: in lower case.
        port: also where it is the usual one.
        path: without a slash at its end.
        query: what follows ``?``, which may hold what is not for reports.
    """

    scheme: str
    host: str
    port: int
    path: str
    query: str

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + ("" if self.port == PORTS[self.scheme] else f":{self.port}")

    @property
    def shown(self) -> str:
        """For reports and errors."""
        return self.origin + self.path

    def check(self, *, plain_http: bool) -> None:
        """Refuse to send inputs where others can read them.

        Raises:
            ValueError: plain http to another machine.
        """
        if self.scheme == "http" and not plain_http and not is_loopback(self.host):
            raise ValueError(
                f"{self.shown} is plain http to another machine, where anybody between can read what is sent; use "
                "https, or allow it in an endpoint.yaml (allow: {plain_http: true})"
            )


def parse_address(url: str) -> Address:
    """The parts of a URL.

    Raises:
        ValueError: it is none, or holds a password.
    """
    try:
        parts = urlsplit(url)
        scheme, host, port = parts.scheme.lower(), parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"the url cannot be read: {error}") from None
    if scheme not in PORTS or not host:
        raise ValueError("the url must be https://HOST/PATH (or http:// to this machine)")
    if parts.username is not None or parts.password is not None:
        raise ValueError("the url holds a user name or password; name a variable with it in an endpoint.yaml (auth)")
    return Address(scheme, host, port or PORTS[scheme], parts.path.rstrip("/"), parts.query)


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, by its name alone."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def model_path(model: str | os.PathLike[str]) -> Path:
    """The file that a model argument stands for; of a URL an ``endpoint.yaml``, which is written where it is not there.

    Raises:
        UsageError: the URL cannot be used.
    """
    found = URL.fullmatch(os.fspath(model))
    if found is None:
        return Path(model)
    url = f"{found[1].lower()}://{found[2]}"
    try:
        address = parse_address(url)
        address.check(plain_http=False)
    except ValueError as error:
        raise UsageError(str(error)) from error
    if address.query:
        raise UsageError(
            f"{address.shown} is given with what follows a question mark, which reports would show; write the url into "
            "an endpoint.yaml, and a secret into a variable that it names (auth)"
        )
    name = re.sub(r"[^A-Za-z0-9.-]+", "-", f"{address.host}{address.path}").strip("-.")[-60:]
    path = FOLDER / f"{name}-{hashlib.sha256(address.shown.encode()).hexdigest()[:8]}.yaml"
    if not path.is_file():
        for folder in (FOLDER.parent, FOLDER):
            if folder.is_symlink():
                raise UsageError(f"{folder} is a link; write the url into an endpoint.yaml, and give that")
        try:
            FOLDER.mkdir(parents=True, exist_ok=True)
            write_atomic(path, f"# What it may say besides: docs/remote-targets.md\nurl: {address.shown}\n")
        except OSError as error:
            raise UsageError(f"{path} cannot be written: {error.strerror}") from error
    return path
