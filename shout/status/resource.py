"""
What a running service shows of itself over HTTP.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import time
from collections.abc import Awaitable, Callable
from importlib.resources import files
from inspect import isawaitable
from typing import Any, NamedTuple, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

import shout
from shout.counters import Snapshot
from shout.status.health import Report
from shout.status.prometheus import CONTENT_TYPE, exposition


class StatusSource(Protocol):
    """
    What shows its status: a service in this process, or one that is spread over
    several.
    """

    def snapshot(self) -> Snapshot | Awaitable[Snapshot]:
        """
        Return the totals of now.
        """

    def check(self) -> Awaitable[Report]:
        """
        Find out whether it answers, within a second or so.
        """


class _Answer(NamedTuple):
    code: int
    mediaType: str
    body: bytes


_TEXT = "text/plain; charset=utf-8"

# Nothing from elsewhere, nothing in a frame, and of this page only what it came
# with.
_POLICY = (
    "default-src 'none'; {sources}connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class StatusResource(Resource):
    """
    Show the status of a service: C{/}, a page for people; C{/healthz}, for whoever
    starts and stops services; C{/metrics}, for Prometheus; and C{/snapshot}, for
    the page.

    Its site is a L{HardenedSite<shout.status.site.HardenedSite>}, which lets through
    GET and HEAD alone.
    """

    isLeaf = True

    def __init__(
        self, watched: StatusSource, seconds: Callable[[], float] = time.monotonic
    ) -> None:
        """
        @param watched: the service.

        @param seconds: returns the present time, in seconds.
        """
        super().__init__()  # type: ignore[no-untyped-call]
        self._watched = watched
        self._seconds = seconds
        self._started = seconds()
        self._html = (files("shout.status") / "status.html").read_bytes()
        self._policy = _POLICY.format(sources=_sources(self._html.decode()))
        self._pages: dict[bytes, Callable[[], Awaitable[_Answer]]] = {
            b"/": self._page,
            b"/snapshot": self._snapshot,
            b"/healthz": self._healthz,
            b"/metrics": self._metrics,
        }

    def render(self, request: Request) -> int:
        """
        Answer a request.
        """
        for name, value in (
            ("Cache-Control", "no-store"),
            ("Content-Security-Policy", self._policy),
            ("Cross-Origin-Resource-Policy", "same-origin"),
            ("Referrer-Policy", "no-referrer"),
            ("Server", "shout"),
            ("X-Content-Type-Options", "nosniff"),
        ):
            request.setHeader(name.encode(), value.encode())
        answer = Deferred.fromCoroutine(self._answer(request))
        answer.addErrback(_failed, request)
        gone = request.notifyFinish()
        gone.addErrback(lambda _: answer.cancel())
        answer.addCallback(_send, request)
        answer.addErrback(_gone)
        return NOT_DONE_YET

    async def _answer(self, request: Request) -> _Answer:
        # A request may name the whole URL (RFC 9112, 3.2.2).
        path = re.sub(rb"^https?://[^/]*", b"", request.path, flags=re.IGNORECASE)
        page = self._pages.get(path)
        if page is None:
            return _Answer(404, _TEXT, b"not found\n")
        return await page()

    async def _take(self) -> Snapshot:
        snapshot = self._watched.snapshot()
        return await snapshot if isawaitable(snapshot) else snapshot

    async def _page(self) -> _Answer:
        return _Answer(200, "text/html; charset=utf-8", self._html)

    async def _snapshot(self) -> _Answer:
        values = (await self._take()).toJSON()
        values["version"] = shout.__version__
        values["started"], values["seconds"] = self._started, self._seconds()
        return _Answer(200, "application/json", json.dumps(values).encode())

    async def _healthz(self) -> _Answer:
        report = await self._watched.check()
        well = "every socket answers"
        if report.notCounted:
            well += " that this host can reach"
        lines = [*(report.troubles or [well]), *report.notCounted]
        text = "".join(f"{line}\n" for line in lines)
        # The path of a socket can be any bytes.
        body = text.encode("utf-8", "backslashreplace")
        return _Answer(503 if report.troubles else 200, _TEXT, body)

    async def _metrics(self) -> _Answer:
        return _Answer(200, CONTENT_TYPE, exposition(await self._take()))


def _failed(failure: Failure, request: Request) -> _Answer:
    if failure.check(CancelledError):
        failure.raiseException()
    site: Any = request.site
    site.failed(failure)
    return _Answer(500, _TEXT, b"something is wrong; see the log\n")


def _gone(failure: Failure) -> None:
    failure.trap(CancelledError)


def _send(answer: _Answer, request: Request) -> None:
    request.setResponseCode(answer.code)
    request.setHeader(b"Content-Type", answer.mediaType.encode())
    request.setHeader(b"Content-Length", str(len(answer.body)).encode())
    request.write(answer.body)
    request.finish()


def _sources(html: str) -> str:
    """
    Return what a policy says to allow the style and the script of a page, and
    no other.
    """
    directives = ""
    for name in ("style", "script"):
        [text] = re.findall(rf"<{name}>(.*?)</{name}>", html, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        directives += f"{name}-src 'sha256-{digest}'; "
    return directives
