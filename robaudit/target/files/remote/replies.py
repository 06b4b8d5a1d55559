"""What servers say where they do not answer: why, and when to ask again."""

from __future__ import annotations

import contextlib
import email.utils
import json
import math
import time

from robaudit.target.files.remote.address import parse_address
from robaudit.target.files.remote.secrets import Secret

__all__ = ["pause", "refusal", "said"]

MOST = 65536
"""Bytes of an answer that is looked at for a reason."""
LONGEST_WAIT = 120.0
"""Seconds that a server may ask for with Retry-After."""


def refusal(status: int, content: bytes, url: str, secret: Secret) -> str:
    """What a status says that no further attempt changes, as a sentence."""
    shown = parse_address(url).shown
    if status in (401, 403):
        named = f"the secret of {secret.named}" if secret.named else "requests without a secret (auth)"
        return f"{shown} refuses {named} ({status})"
    return f"{shown} answers {status}: {said(content, secret)}"


def said(content: bytes, secret: Secret) -> str:
    """What a server says is wrong: of JSON its error, with the field that it is about; never the secret."""
    text = content[:MOST].decode("utf-8", "replace")
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        told = None
    if isinstance(told, dict):
        told = next((told[key] for key in ("error", "detail", "message") if told.get(key)), told)
    if isinstance(told, list) and told and isinstance(told[0], dict) and "loc" in told[0]:
        place = told[0]["loc"] if isinstance(told[0]["loc"], list) else [told[0]["loc"]]
        told = f"{'.'.join(map(str, place))}: {told[0].get('msg', 'not as it should be')}"
    if isinstance(told, dict) and told.get("message"):
        told = told["message"]
    return secret.hidden(text if told is None else told) or "no reason given"


def pause(text: str | None) -> float | None:
    """Seconds that a Retry-After asks for, a number or a date; None where it says nothing."""
    if text is None:
        return None
    seconds = math.nan
    with contextlib.suppress(ValueError):
        seconds = float(text)
    if math.isnan(seconds):
        with contextlib.suppress(ValueError, TypeError, OverflowError):
            seconds = email.utils.parsedate_to_datetime(text).timestamp() - time.time()
    return None if math.isnan(seconds) else min(max(seconds, 0.0), LONGEST_WAIT)
