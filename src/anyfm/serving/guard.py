"""What every request passes: the token, limits of size and time, the log and the counters."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import json
import logging
import re
import time
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from anyfm.serving.metrics import Metrics
from anyfm.serving.options import ServeOptions

logger = logging.getLogger("anyfm.serving.request")
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

FAILURE = "the server failed to answer; its log says why"
_OPEN = frozenset({"/v2/health/live", "/v2/health/ready"})  # what a probe asks, without a token
_REQUEST_ID = re.compile(r"[\w.\-]{1,64}", re.ASCII)


class RefusedError(Exception):
    """A request that is answered with an error.

    Parameters
    ----------
    status : int
    problem : str
    """

    def __init__(self, status: int, problem: str, **headers: str) -> None:
        super().__init__(problem)
        self.status, self.headers = status, {name.replace("_", "-"): value for name, value in headers.items()}


class Guard:
    """Wraps the application. `draining` is set when the server is about to stop: connections then close with their
    next answer."""

    def __init__(self, app: App, options: ServeOptions, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics
        self._max_bytes, self._timeout = options.max_bytes, options.timeout
        self._token = options.token()
        self.draining = False

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
                return
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        headers: dict[bytes, bytes] = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"").decode("latin-1")
        request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        status, size = 0, 0

        async def answer(message: Message) -> None:
            nonlocal status, size
            if message["type"] == "http.response.start":
                status = message["status"]
                own = [(b"x-request-id", request_id.encode()), (b"x-content-type-options", b"nosniff")]
                if self.draining:
                    own.append((b"connection", b"close"))
                message = {**message, "headers": [*message.get("headers", ()), *own]}
            else:
                size += len(message.get("body", b""))
            await send(message)

        try:
            self._check_token(scope["path"], headers)
            await self._app(scope, self._limited(headers, receive), answer)
        except RefusedError as refused:
            if status == 0:
                await refuse(answer, refused)
        except Exception:
            logger.exception("a request failed", extra={"request_id": request_id, "path": scope["path"][:200]})
            if status == 0:
                await refuse(answer, RefusedError(500, FAILURE))
        finally:
            seconds = time.perf_counter() - began
            route = scope.get("route")
            endpoint = getattr(route, "path", "unknown")
            self._metrics.requests.labels(endpoint, str(status)).inc()
            self._metrics.seconds.labels(endpoint).observe(seconds)
            if logger.isEnabledFor(logging.INFO):
                logger.info(
                    "request",
                    extra={
                        "request_id": request_id,
                        "client": (scope.get("client") or ("",))[0],
                        "method": scope["method"],
                        "path": scope["path"][:200],
                        "status": status,
                        "ms": round(1e3 * seconds, 3),
                        "bytes": size,
                    },
                )

    def _check_token(self, path: str, headers: dict[bytes, bytes]) -> None:
        """Bearer TOKEN, or Basic with the token as password, which browsers ask for."""
        if self._token is None or path in _OPEN:
            return
        scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
        given = given.strip()
        if scheme.lower() == b"basic":
            try:
                given = base64.b64decode(given, validate=True).partition(b":")[2]
            except (binascii.Error, ValueError):
                given = b""
        elif scheme.lower() != b"bearer":
            given = b""
        if not hmac.compare_digest(given, self._token):
            raise RefusedError(
                401,
                "a request must carry the token of this server: Authorization: Bearer TOKEN",
                www_authenticate='Bearer, Basic realm="anyfm", charset="UTF-8"',
            )

    def _limited(self, headers: dict[bytes, bytes], receive: Receive) -> Receive:
        """`receive`, with the limits of a request's size and of the time in which it must arrive."""
        stated = headers.get(b"content-length", b"0")
        too_large = f"a request may have at most {self._max_bytes:,} bytes"
        if len(stated) > 18 or (stated.isdigit() and int(stated) > self._max_bytes):
            raise RefusedError(413, too_large)
        deadline = time.monotonic() + self._timeout
        n_bytes, complete = 0, False

        async def limited() -> Message:
            nonlocal n_bytes, complete
            if complete:
                return await receive()  # waits for the client to disconnect
            try:
                message = await asyncio.wait_for(receive(), max(0.001, deadline - time.monotonic()))
            except asyncio.TimeoutError:
                problem = f"a request must arrive within {self._timeout:g} seconds"
                raise RefusedError(408, problem, connection="close") from None
            n_bytes += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            if n_bytes > self._max_bytes:
                raise RefusedError(413, too_large, connection="close")
            return message

        return limited


async def refuse(send: Send, refused: RefusedError) -> None:
    """Answer with an error in the form of the Open Inference Protocol."""
    body = json.dumps({"error": str(refused)}).encode()
    headers = {"content-type": "application/json", "content-length": str(len(body)), **refused.headers}
    start = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": refused.status, "headers": start})
    await send({"type": "http.response.body", "body": body})
