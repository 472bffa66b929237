"""
The pages of the status.
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
    The counts and the health of a service.
    """

    def snapshot(self) -> Snapshot | Awaitable[Snapshot]:
        """
        Return the present totals.
        """

    def check(self) -> Awaitable[Report]:
        """
        Check the health of the service, in about a second at most.
        """


class _Answer(NamedTuple):
    code: int
    mediaType: str
    body: bytes


_TEXT = "text/plain; charset=utf-8"

# The page may load nothing from other places, and may not be shown in a frame.
_POLICY = (
    "default-src 'none'; {hashes}connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class StatusResource(Resource):
    """
    The status of a service: C{/} is a page for people, C{/healthz} is for programs that
    start and stop services, C{/metrics} is for Prometheus, and C{/snapshot} is for the
    page.

    Its site is a L{HardenedSite<shout.status.site.HardenedSite>}, which accepts no
    methods but GET and HEAD.
    """

    isLeaf = True

    def __init__(
        self, source: StatusSource, seconds: Callable[[], float] = time.monotonic
    ) -> None:
        """
        @param source: The source of the counts and the health.

        @param seconds: Returns the present time, in seconds.
        """
        super().__init__()  # type: ignore[no-untyped-call]
        self._source = source
        self._seconds = seconds
        self._started = seconds()
        self._html = (files("shout.status") / "status.html").read_bytes()
        self._policy = _POLICY.format(hashes=_contentHashes(self._html.decode()))
        self._pages: dict[bytes, Callable[[], Awaitable[_Answer]]] = {
            b"/": self._page,
            b"/snapshot": self._snapshot,
            b"/healthz": self._healthz,
            b"/metrics": self._metrics,
        }

    def render(self, request: Request) -> int:
        for name, value in (
            ("Cache-Control", "no-store"),
            ("Content-Security-Policy", self._policy),
            ("Cross-Origin-Resource-Policy", "same-origin"),
            ("Referrer-Policy", "no-referrer"),
            ("Server", "shout"),
            ("X-Content-Type-Options", "nosniff"),
        ):
            request.setHeader(name.encode(), value.encode())
        finished = request.notifyFinish()
        answered = Deferred.fromCoroutine(self._answer(request))
        finished.addErrback(lambda _: answered.cancel())
        return NOT_DONE_YET

    async def _answer(self, request: Request) -> None:
        # The target of a request may be the whole URL (RFC 9112, 3.2.2).
        path = re.sub(rb"^https?://[^/]*", b"", request.path, flags=re.IGNORECASE)
        try:
            answer = await self._pages.get(path, _notFound)()
        except CancelledError:
            return
        except Exception:
            site: Any = request.site
            site.logFailure(Failure())
            answer = _Answer(500, _TEXT, b"internal error; see the log\n")
        request.setResponseCode(answer.code)
        request.setHeader(b"Content-Type", answer.mediaType.encode())
        request.setHeader(b"Content-Length", str(len(answer.body)).encode())
        request.write(answer.body)
        request.finish()

    async def _getSnapshot(self) -> Snapshot:
        snapshot = self._source.snapshot()
        return await snapshot if isawaitable(snapshot) else snapshot

    async def _page(self) -> _Answer:
        return _Answer(200, "text/html; charset=utf-8", self._html)

    async def _snapshot(self) -> _Answer:
        values = (await self._getSnapshot()).toJSON()
        values["version"] = shout.__version__
        values["started"], values["seconds"] = self._started, self._seconds()
        return _Answer(200, "application/json", json.dumps(values).encode())

    async def _healthz(self) -> _Answer:
        problems, skipped = await self._source.check()
        healthy = f"every {'reachable ' if skipped else ''}socket answers"
        lines = [*(problems or [healthy]), *skipped]
        text = "".join(f"{line}\n" for line in lines)
        # The path of a socket can contain any bytes.
        body = text.encode("utf-8", "backslashreplace")
        return _Answer(503 if problems else 200, _TEXT, body)

    async def _metrics(self) -> _Answer:
        return _Answer(200, CONTENT_TYPE, exposition(await self._getSnapshot()))


async def _notFound() -> _Answer:
    return _Answer(404, _TEXT, b"not found\n")


def _contentHashes(html: str) -> str:
    """
    Return the directives of a policy that allows no style and no script but those of a
    page.
    """
    directives = ""
    for name in ("style", "script"):
        [text] = re.findall(rf"<{name}>(.*?)</{name}>", html, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        directives += f"{name}-src 'sha256-{digest}'; "
    return directives
