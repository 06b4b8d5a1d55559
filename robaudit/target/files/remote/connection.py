"""What a connection sends back, and its end."""

from __future__ import annotations

import asyncio
import threading

import aiohttp

from robaudit.errors import UsageError

__all__ = ["MOST", "body_of", "close"]

MOST = 256 * 2**20
"""Bytes of a response."""


def close(loop: asyncio.AbstractEventLoop, session: aiohttp.ClientSession) -> None:
    """End a session and the loop that it lives on."""

    def end() -> None:
        loop.run_until_complete(session.close())
        loop.close()

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        end()
    else:  # it was collected while another client is at work, whose thread runs one loop
        thread = threading.Thread(target=end)
        thread.start()
        thread.join()


async def body_of(response: aiohttp.ClientResponse) -> bytes:
    """The content of a response.

    Raises:
        UsageError: it is larger than any answer.
    """
    parts, size = [], 0
    async for part in response.content.iter_chunked(2**16):
        size += len(part)
        if size > MOST:
            raise UsageError(f"a response has more than {MOST // 2**20} MB")
        parts.append(part)
    return b"".join(parts)
