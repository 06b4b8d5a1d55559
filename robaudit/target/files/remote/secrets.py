"""Secrets that requests are sent with: read when they are needed, and kept out of every text."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from robaudit.errors import UsageError
from robaudit.files import read_regular
from robaudit.printable import plain
from robaudit.target.files.remote.endpoint import Auth

__all__ = ["NO_SECRET", "Secret", "read_secret"]

LARGEST = 65536
"""Bytes of a file that holds a secret."""
HIDDEN = "[secret]"


@dataclass(frozen=True)
class Secret:
    """A secret, and how it is sent.

    Args:
        headers: that it is sent in.
        query: parameters of the address that it is sent in.
        text: the secret itself, which no message may hold.
        named: where it comes from, for messages.
    """

    headers: dict[str, str] = field(default_factory=dict, repr=False)
    query: dict[str, str] = field(default_factory=dict, repr=False)
    text: str = field(default="", repr=False)
    named: str = ""

    def removed(self, content: bytes) -> bytes:
        """What a server sends, without the secret."""
        return content.replace(self.text.encode(), HIDDEN.encode()) if self.text else content

    def hidden(self, text: object, most: int = 300) -> str:
        """What a server says, on one line, without the secret."""
        told = str(text)
        return plain(told.replace(self.text, HIDDEN) if self.text else told, most)


NO_SECRET = Secret()


def read_secret(auth: Auth | None, folder: Path) -> Secret:
    """The secret that an endpoint names.

    Args:
        auth: what the endpoint says.
        folder: that a file's path starts at.

    Raises:
        UsageError: the variable or file is not there, is empty, or holds what cannot be sent.
    """
    if auth is None:
        return NO_SECRET
    if auth.env is not None:
        named, text = f"the variable {auth.env}", os.environ.get(auth.env, "")
        if not text.strip():
            raise UsageError(f"auth: {named} is not set; set it to the secret that the endpoint takes")
    else:
        path = folder / os.path.expanduser(str(auth.file))
        named = f"the file {path.name}"
        try:
            text = read_regular(path, LARGEST).decode()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"auth: {named} cannot be read: {getattr(error, 'strerror', None) or 'no text'}") from None
    text = text.strip()
    if not text or not text.isascii() or not text.isprintable():
        raise UsageError(f"auth: {named} holds no secret on one line of plain characters")
    if auth.query is not None:
        return Secret({}, {auth.query: text}, text, named)
    return Secret({auth.header or "Authorization": auth.prefix + text}, {}, text, named)
