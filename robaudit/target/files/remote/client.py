"""Sends requests to an endpoint: several at a time, again where that helps, and never where it must not."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import weakref
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urljoin

import aiohttp
import stamina

from robaudit.errors import FinalError, UsageError
from robaudit.target.files.remote.address import parse_address
from robaudit.target.files.remote.answers import Answers
from robaudit.target.files.remote.connection import body_of, close
from robaudit.target.files.remote.endpoint import Endpoint
from robaudit.target.files.remote.exchange import BadAnswerError, Job
from robaudit.target.files.remote.pace import Pace
from robaudit.target.files.remote.replies import pause, refusal, said
from robaudit.target.files.remote.secrets import Secret

__all__ = ["Client"]

T = TypeVar("T")
MOST_TOLD = 2**20
"""Bytes of what a server says of itself, which reports repeat."""
AGAIN = (429, 502, 503, 504)
"""Answers after which the same request may succeed."""
UNBILLED = frozenset({400, 401, 403, 404, 405, 413, 415, 422, 429})
"""Refusals before anything was computed."""
JSON = {"Content-Type": "application/json"}
REDIRECTS, HOPS = (301, 302, 303, 307, 308), 3
WAIT_FIRST, WAIT_MOST = 0.1, 10.0


class _AgainError(Exception):
    """The request may be sent again.

    Args:
        why: it was not answered.
        wait: seconds after which, where the server says so.
        failed: with a failure of the server's own, which may be there to stay.
        billed: it may have been.
    """

    def __init__(self, why: str, wait: float | None = None, *, failed: bool = False, billed: bool = True) -> None:
        super().__init__(why)
        self.wait, self.failed, self.billed = wait, failed, billed


class Client:
    """A connection to one endpoint.

    Args:
        endpoint: where, and how.
        secret: that requests are sent with.
        answers: where charges are written.
        folder: of the endpoint's file.

    Raises:
        UsageError: the certificates cannot be read.
    """

    def __init__(self, endpoint: Endpoint, secret: Secret, answers: Answers, folder: Path) -> None:
        stamina.instrumentation.set_on_retry_hooks([])  # it would log each retry
        self.endpoint, self._secret, self._answers = endpoint, secret, answers
        self._shown = endpoint.address.shown
        self.health: str | None = None
        self._pace = Pace(endpoint.per_second)
        self._tls = self._certificates(folder)
        self._loop = asyncio.new_event_loop()
        self._session: aiohttp.ClientSession | None = None

    def _certificates(self, folder: Path) -> ssl.SSLContext | bool:
        if self.endpoint.allow.bad_certificates:
            return False
        if self.endpoint.ca is None:
            return True
        try:
            return ssl.create_default_context(cafile=str(folder / self.endpoint.ca))
        except (OSError, ssl.SSLError) as error:
            raise UsageError(f"ca: the certificates in {self.endpoint.ca} cannot be read: {error.strerror}") from error

    def get(self, url: str) -> Any:
        """The JSON at an address, which costs nothing.

        Raises:
            UsageError: the server does not give it.
        """
        return self._run(self._json("GET", url, None))

    def post(self, url: str, content: Any) -> Any:
        """The JSON that is answered; see :meth:`get`."""
        return self._run(self._json("POST", url, json.dumps(content).encode()))

    def send(self, jobs: Sequence[Job]) -> None:
        """Send requests, several at a time, until all are answered and read.

        Raises:
            FinalError: one is not answered; those under way are waited for, and what they bring is kept.
        """
        self._run(self._send_all(jobs))

    def _run(self, work: Awaitable[T]) -> T:
        async def within() -> T:
            if self._session is None:
                self._session = aiohttp.ClientSession(
                    connector=aiohttp.TCPConnector(limit=self.endpoint.concurrency, ssl=self._tls),
                    timeout=aiohttp.ClientTimeout(total=self.endpoint.timeout),
                    cookie_jar=aiohttp.DummyCookieJar(),
                    headers={"User-Agent": "robaudit"},
                )
                weakref.finalize(self, close, self._loop, self._session)
            return await work

        return self._loop.run_until_complete(within())

    async def _json(self, method: str, url: str, body: bytes | None) -> Any:
        try:
            status, _, content = await self._tried(lambda: self._once(method, url, body, JSON))
        except FinalError as error:
            raise UsageError(str(error)) from None
        if status != 200:
            raise UsageError(refusal(status, content, url, self._secret))
        try:
            if len(content) > MOST_TOLD:
                raise ValueError
            return json.loads(self._secret.removed(content))
        except (ValueError, RecursionError):
            raise UsageError(
                f"{parse_address(url).shown} does not answer with JSON; is it the right address?"
            ) from None

    async def _send_all(self, jobs: Sequence[Job]) -> None:
        left = list(reversed(jobs))
        errors: list[BaseException] = []

        async def work() -> None:
            while left and not errors:
                try:
                    await self._send(left.pop())
                except Exception as error:
                    errors.append(error)

        await asyncio.gather(*(work() for _ in range(min(self.endpoint.concurrency, len(jobs)))))
        if errors:
            raise errors[0]

    async def _send(self, job: Job) -> None:
        """One request, until it is answered and its answer is kept."""
        failures = 0

        async def attempt() -> None:
            nonlocal failures
            try:
                await self._paid(job)
            except _AgainError as error:
                failures += error.failed
                if failures > 1 and await self._is_ready():
                    raise FinalError(
                        f"{self._shown} fails on the same request each time ({error}), and says that it is ready"
                        + self._hint(job.rows)
                    ) from None
                raise

        await self._tried(attempt)

    async def _paid(self, job: Job) -> None:
        """One attempt: the charge is written before the request is sent, and the answer before it is used."""
        outgoing = job.outgoing
        await self._pace.wait(job.rows)
        self._answers.charge(job.rows, len(outgoing.body))
        try:
            status, headers, content = await self._once("POST", outgoing.url, outgoing.body, outgoing.headers)
        except UsageError as error:
            self._answers.refund(job.rows)
            raise FinalError(str(error)) from None
        except _AgainError as error:
            if not error.billed:
                self._answers.refund(job.rows)
            raise
        if status in UNBILLED:
            self._answers.refund(job.rows)
        if status >= 500 and status not in AGAIN:
            raise _AgainError(f"{status}: {said(content, self._secret)}", failed=True)
        if status != 200:
            words = refusal(status, content, outgoing.url, self._secret)
            hint = self._hint(job.rows) if status in (400, 413, 422) else ""
            raise FinalError(f"{words}{hint}")
        try:
            job.read(headers, content)
        except BadAnswerError as error:
            raise _AgainError(f"200, but {self._secret.hidden(error)}", failed=True) from None

    async def _tried(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Attempt it as often as the endpoint allows, with pauses that grow, or that the server asks for."""

        def again(error: Exception) -> bool | float:
            if not isinstance(error, _AgainError):
                return False
            return True if error.wait is None else error.wait

        try:
            async for retry in stamina.retry_context(
                on=again, attempts=self.endpoint.attempts, timeout=None, wait_initial=WAIT_FIRST, wait_max=WAIT_MOST
            ):
                with retry:
                    return await attempt()
        except _AgainError as error:
            times = "once" if self.endpoint.attempts == 1 else f"{self.endpoint.attempts} times"
            raise FinalError(f"{self._shown} was asked {times} without an answer ({error})") from None
        raise AssertionError("stamina neither returned nor raised")

    async def _once(
        self, method: str, url: str, body: bytes | None, headers: Mapping[str, str]
    ) -> tuple[int, Mapping[str, str], bytes]:
        """(status, headers, body) of one request, after redirects that are allowed."""
        assert self._session is not None
        for _ in range(HOPS + 1):
            own = parse_address(url).origin == self.endpoint.address.origin
            sent = {**headers, **(self._secret.headers if own else {})}
            try:
                async with self._session.request(
                    method,
                    url,
                    data=body,
                    headers=sent,
                    params=self._secret.query if own else None,
                    allow_redirects=False,
                ) as response:
                    status, told = response.status, response.headers
                    content = await body_of(response)
            except aiohttp.ClientConnectorCertificateError as error:
                why = self._secret.hidden(error.certificate_error, 120)
                raise UsageError(
                    f"{self._shown} has a certificate that cannot be verified ({why}); name its "
                    "authority in an endpoint.yaml (ca: FILE)"
                ) from None
            except aiohttp.ClientConnectorError as error:
                why = error.os_error.strerror or "the host is not known"
                raise _AgainError(f"no connection: {why}", billed=False) from None
            except TimeoutError:
                raise _AgainError(f"no answer within {self.endpoint.timeout:g} s") from None
            except (aiohttp.ClientError, OSError) as error:
                raise _AgainError(f"the connection broke: {self._secret.hidden(error, 120)}") from None
            if status not in REDIRECTS:
                if status in AGAIN:
                    wait, why = pause(told.get("Retry-After")), f"{status}: {said(content, self._secret)}"
                    raise _AgainError(why, wait, billed=status not in UNBILLED)
                return status, told, content
            url = self._redirected(url, status, told.get("Location", ""), method)
        raise UsageError(f"{self._shown} redirects more than {HOPS} times")

    def _redirected(self, url: str, status: int, location: str, method: str) -> str:
        """Where a redirect leads.

        Raises:
            UsageError: to another host that is not allowed, out of https, or so that what was posted would be lost.
        """
        try:
            target, there = urljoin(url, location), parse_address(urljoin(url, location))
        except ValueError:
            raise UsageError(f"{self._shown} redirects to an address that cannot be read") from None
        here = parse_address(url)
        if there.origin != here.origin and there.host not in self.endpoint.allow.redirects:
            raise UsageError(
                f"{self._shown} redirects to {there.origin}, another host; give its address, or allow it in an "
                "endpoint.yaml (allow: {redirects: [HOST]})"
            )
        try:
            there.check(plain_http=self.endpoint.allow.plain_http)
        except ValueError as error:
            raise UsageError(f"{self._shown} redirects: {error}") from None
        if method == "POST" and status not in (307, 308):
            raise UsageError(
                f"{self._shown} redirects ({status}) to {there.shown}, and what is posted would be lost; give that "
                "address"
            )
        return target

    async def _is_ready(self) -> bool:
        """Whether the server says that it can answer; one that cannot be asked is taken to be."""
        if self.health is None:
            return True
        with contextlib.suppress(_AgainError, UsageError):
            return (await self._once("GET", self.health, None, {}))[0] == 200
        return False

    def _hint(self, rows: int) -> str:
        return f"; {rows} inputs were in the request: if it takes fewer, say so with max_batch" if rows > 1 else ""
