"""Signatures of result files: Ed25519, in the format of OpenSSH, so that ``ssh-keygen -Y`` makes and checks them too.

A signature covers every byte of the file, under a namespace of its own, so that nothing that was signed for another
purpose passes for a result (PROTOCOL.sshsig of OpenSSH). Keys are PEM files as ``openssl genpkey -algorithm ed25519``
writes them, or OpenSSH's. The package ``cryptography`` does the mathematics; it is needed by nothing else.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robaudit.errors import UsageError
from robaudit.files import open_regular

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

__all__ = [
    "NAMESPACE",
    "SUFFIX",
    "Trusted",
    "check_signature",
    "read_private",
    "read_trusted",
    "signature",
    "signed_by",
]

NAMESPACE = "robaudit-result"
SUFFIX = ".sig"
MAGIC = b"SSHSIG"
HASH = b"sha512"
KIND = b"ssh-ed25519"
ARMOUR = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"
LARGEST = 65_536
"""Bytes that a key or a signature may take."""


@dataclass(frozen=True)
class Trusted:
    """Public keys, any one of which may have signed; each as its 32 bytes."""

    keys: tuple[bytes, ...]


def _ed25519() -> Any:
    try:
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as error:
        raise UsageError("signatures need the package cryptography: pip install 'robaudit[sign]'") from error
    return ed25519


def read_private(path: Path) -> Ed25519PrivateKey:
    """The key of a file, to sign with.

    Raises:
        UsageError: it cannot be read, is encrypted, or is no private Ed25519 key.
    """
    ed25519 = _ed25519()
    from cryptography.hazmat.primitives import serialization

    content = _read(path, "key")
    ssh = b"OPENSSH PRIVATE KEY" in content
    load = serialization.load_ssh_private_key if ssh else serialization.load_pem_private_key
    try:
        key = load(content, password=None)
    except TypeError as error:
        raise UsageError(f"the key {path} is encrypted; give one that is not, such as a secret of the CI") from error
    except Exception as error:  # of several types, which change with the version
        raise UsageError(f"{path} is not a private Ed25519 key in PEM or OpenSSH's format") from error
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise UsageError(f"the key {path} is not an Ed25519 key (openssl genpkey -algorithm ed25519 makes one)")
    found: Ed25519PrivateKey = key
    return found


def read_trusted(path: Path) -> Trusted:
    """The public keys of a file: one in PEM, or any number of ``ssh-ed25519`` lines.

    Raises:
        UsageError: it cannot be read, or holds another kind of key, or none.
    """
    ed25519 = _ed25519()
    from cryptography.hazmat.primitives import serialization

    content = _read(path, "public key")
    if b"PRIVATE KEY" in content:
        raise UsageError(f"{path} holds a private key; give its public half (openssl pkey -pubout)")
    found = []
    for block in [content] if b"BEGIN PUBLIC KEY" in content else _ssh_lines(content):
        try:
            pem = block.lstrip().startswith(b"-----")
            key = (serialization.load_pem_public_key if pem else serialization.load_ssh_public_key)(block)
        except Exception as error:  # of several types, which change with the version
            raise UsageError(f"{path} is not a public Ed25519 key in PEM or OpenSSH's format") from error
        if not isinstance(key, ed25519.Ed25519PublicKey):
            raise UsageError(f"the public key {path} is not an Ed25519 key")
        found.append(key.public_bytes_raw())
    if not found:
        raise UsageError(f"{path} holds no public Ed25519 key in PEM or OpenSSH's format")
    return Trusted(tuple(found))


def _ssh_lines(content: bytes) -> list[bytes]:
    lines = (line.strip() for line in content.splitlines())
    return [line for line in lines if line and not line.startswith(b"#")]


def signature(content: bytes, key: Ed25519PrivateKey) -> str:
    """The signature of a file's bytes, as text."""
    public = key.public_key().public_bytes_raw()
    signed = _string(KIND) + _string(key.sign(_message(content)))
    head = MAGIC + struct.pack(">I", 1) + _string(_blob(public)) + _string(NAMESPACE.encode())
    whole = head + _string(b"") + _string(HASH) + _string(signed)
    body = textwrap.fill(base64.b64encode(whole).decode(), 70)
    return f"{ARMOUR[0]}\n{body}\n{ARMOUR[1]}\n"


def check_signature(content: bytes, path: Path, trusted: Trusted) -> str:
    """Check the signature that lies beside a file, FILE.sig.

    Args:
        content: the file's bytes, which are what is believed.
        path: of the file.
        trusted: keys, one of which must have signed.

    Returns:
        The fingerprint of the one that did.

    Raises:
        UsageError: there is no signature, or it is not one of these bytes by one of these keys.
    """
    beside = path.with_name(path.name + SUFFIX)
    if not beside.is_file():
        raise UsageError(f"{path} is not signed: there is no {beside.name} beside it (robaudit sign makes one)")
    try:
        public, signed = _parse(_read(beside, "signature"))
    except (ValueError, struct.error) as error:
        raise UsageError(f"{beside} is not a signature of a robaudit result: {error}") from error
    if public not in trusted.keys:
        raise UsageError(f"{path} was signed with another key ({fingerprint(public)})")
    from cryptography.exceptions import InvalidSignature

    try:
        _ed25519().Ed25519PublicKey.from_public_bytes(public).verify(signed, _message(content))
    except InvalidSignature as error:
        raise UsageError(f"{path} is not what was signed: it, or {beside.name}, was changed since") from error
    return fingerprint(public)


def signed_by(key: Ed25519PrivateKey) -> str:
    """The fingerprint of a key's public half."""
    return fingerprint(key.public_key().public_bytes_raw())


def fingerprint(public: bytes) -> str:
    """A key's name, as ``ssh-keygen -l`` tells it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(_blob(public)).digest()).decode().rstrip("=")


def _message(content: bytes) -> bytes:
    """What is signed of a file."""
    digest = hashlib.sha512(content).digest()
    return MAGIC + _string(NAMESPACE.encode()) + _string(b"") + _string(HASH) + _string(digest)


def _blob(public: bytes) -> bytes:
    return _string(KIND) + _string(public)


def _string(value: bytes) -> bytes:
    return struct.pack(">I", len(value)) + value


def _parse(text: bytes) -> tuple[bytes, bytes]:
    """(public key, signature) of an armoured signature.

    Raises:
        ValueError: it is no signature, or of another kind or namespace.
    """
    lines = text.decode("ascii", "replace").split()
    begin, end = (armour.split() for armour in ARMOUR)
    if lines[: len(begin)] != begin or lines[-len(end) :] != end:
        raise ValueError("it does not begin and end as one")
    try:
        rest = base64.b64decode("".join(lines[len(begin) : -len(end)]), validate=True)
    except binascii.Error as error:
        raise ValueError("it is not base64") from error
    if rest[:6] != MAGIC or rest[6:10] != struct.pack(">I", 1):
        raise ValueError("it is of another version")
    blob, namespace, reserved, algorithm, signed = _strings(rest[10:], 5)
    (kind, public), (sort, value) = _strings(blob, 2), _strings(signed, 2)
    if (namespace, reserved, algorithm) != (NAMESPACE.encode(), b"", HASH):
        raise ValueError(f"it was made for another purpose ({namespace.decode('ascii', 'replace')[:40]!r})")
    if kind != KIND or sort != KIND or len(public) != 32 or len(value) != 64:
        raise ValueError("it is of another kind of key than Ed25519")
    return public, value


def _strings(data: bytes, count: int) -> list[bytes]:
    found = []
    for _ in range(count):
        size = struct.unpack(">I", data[:4])[0]
        if size > len(data) - 4:
            raise ValueError("it is cut short")
        found.append(data[4 : 4 + size])
        data = data[4 + size :]
    if data:
        raise ValueError("something follows it")
    return found


def _read(path: Path, what: str) -> bytes:
    try:
        with open_regular(path) as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise UsageError(f"the {what} {path} cannot be read: {error.strerror or error}") from error
    if len(content) > LARGEST:
        raise UsageError(f"{path} is too large for a {what}")
    return content
