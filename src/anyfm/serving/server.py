"""Processes that serve: one, or several that share a listening socket."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from anyfm.core.errors import SettingError, located
from anyfm.serving import logs
from anyfm.serving.app import create_app
from anyfm.serving.guard import Guard
from anyfm.serving.options import ServeOptions

logger = logging.getLogger(__name__)
FAILED_TO_START = 3
_MAX_HEADER_BYTES = 65_536
_BACKLOG = 1024


class _Protocol(HttpToolsProtocol):
    """HTTP with a limit on the size of a request's head and on the time in which it must arrive."""

    head_seconds = 30.0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._in_head, self._n_head, self._n_data = True, 0, 0
        self._deadline = self.loop.call_later(self.head_seconds, self._too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        self._deadline.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._n_data = len(data)
        self._n_head += len(data)
        super().data_received(data)
        if self._in_head and self._n_head > _MAX_HEADER_BYTES and not self.transport.is_closing():
            self._end(b"431 Request Header Fields Too Large", b"the head of a request may have at most 65,536 bytes")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._n_head = True, self._n_data  # of which an earlier request may have had a part
        self._deadline.cancel()
        self._deadline = self.loop.call_later(self.head_seconds, self._too_slow)

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._deadline.cancel()
        super().on_headers_complete()

    def _too_slow(self) -> None:
        if not self.transport.is_closing():
            self._end(b"408 Request Timeout", b"the head of a request must arrive within the limit of time")

    def _end(self, status: bytes, problem: bytes) -> None:
        body = b'{"error": "' + problem + b'"}'
        head = b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
        self.transport.write(head % (status, len(body)) + body)
        self.transport.close()


class _Server(uvicorn.Server):
    """A server that goes on for some time after SIGTERM, so that a load balancer sees that it is no longer ready."""

    def __init__(self, config: uvicorn.Config, guard: Guard, drain_seconds: float, parent: int | None) -> None:
        super().__init__(config)
        self._guard, self._drain_seconds = guard, drain_seconds
        self._stops_at: float | None = None
        self._parent = parent

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if sig == signal.SIGTERM and not self._guard.draining and self._drain_seconds > 0:
            self._guard.draining = True
            self._stops_at = time.monotonic() + self._drain_seconds
            return
        self._guard.draining = True
        super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        if self._stops_at is not None and time.monotonic() >= self._stops_at:
            self.should_exit = True
        if self._parent is not None and os.getppid() != self._parent:  # it was killed and stops no worker any more
            self.should_exit = True
        return await super().on_tick(counter)


def serve(options: ServeOptions) -> None:
    """Serve until SIGTERM or Ctrl-C.

    Raises
    ------
    AnyfmError
        A model cannot be loaded, or the address cannot be used.
    """
    logs.configure(options.log_level)
    if options.workers == 1:
        guard = create_app(options)
        with _listening(options) as listener:
            _run(options, guard, listener)
        return
    options.token()  # says what is wrong with it here, rather than in every worker
    with _listening(options) as listener:
        _Workers(options, listener).run()


def run_worker(descriptor: int, options: ServeOptions) -> None:
    """Serve requests of a listening socket that another process opened."""
    logs.configure(options.log_level)
    parent = os.getppid()
    guard = create_app(options)
    with socket.socket(fileno=descriptor) as listener:
        _run(options, guard, listener, parent=parent)


def _run(options: ServeOptions, guard: Guard, listener: socket.socket, *, parent: int | None = None) -> None:
    protocol = type("Protocol", (_Protocol,), {"head_seconds": options.timeout})
    config = uvicorn.Config(
        guard,
        http=protocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        backlog=_BACKLOG,
        timeout_keep_alive=75,  # longer than the load balancers' 60, so that they close idle connections, not we
        timeout_graceful_shutdown=max(1, int(options.timeout)),
    )
    host, port = listener.getsockname()[:2]
    logger.info("serving", extra={"url": f"http://{host}:{port}", "pid": os.getpid()})
    server = _Server(config, guard, options.drain_seconds, parent)
    # uvicorn raises the signal again once all requests are answered: the process has then done what it was asked for.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    server.run(sockets=[listener])


def _listening(options: ServeOptions) -> socket.socket:
    """The listening socket."""
    try:
        family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((options.host, options.port))
        listener.listen(_BACKLOG)
    except OSError as error:
        problem = f"cannot listen on {options.host}:{options.port}: {error.strerror or error}"
        raise SettingError(located(problem, remedy="Choose another --port or --host.")) from None
    return listener


class _Workers:
    """Starts worker processes, replaces those that die, and passes SIGTERM on.

    A worker is a new Python process rather than a fork: threads of numpy and polars do not survive a fork.
    """

    def __init__(self, options: ServeOptions, listener: socket.socket) -> None:
        self._options, self._listener = options, listener
        self._processes: list[subprocess.Popen[bytes]] = []
        self._stopping = False

    def run(self) -> None:
        shared = tempfile.mkdtemp(prefix="anyfm-metrics-")
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = shared
        try:
            self._run()
        finally:
            for process in self._processes:
                if process.poll() is None:
                    process.kill()
            os.environ.pop("PROMETHEUS_MULTIPROC_DIR")
            shutil.rmtree(shared, ignore_errors=True)

    def _run(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        self._processes = [self._start() for _ in range(self._options.workers)]
        logger.info("workers started", extra={"pids": [process.pid for process in self._processes]})
        while not self._stopping:
            time.sleep(0.2)
            for place, process in enumerate(self._processes):
                status = process.poll()
                if status is None or self._stopping:
                    continue
                if status == FAILED_TO_START:
                    self._stop(signal.SIGTERM)
                    raise SettingError("a worker could not start; the lines above say why")
                logger.error("a worker died and is replaced", extra={"pid": process.pid, "status": status})
                self._forget(process.pid)
                self._processes[place] = self._start()
        deadline = time.monotonic() + self._options.drain_seconds + self._options.timeout + 5
        for process in self._processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.1, deadline - time.monotonic()))

    def _start(self) -> subprocess.Popen[bytes]:
        descriptor = self._listener.fileno()
        command = [sys.executable, "-m", "anyfm.serving", str(descriptor), json.dumps(asdict(self._options))]
        return subprocess.Popen(command, pass_fds=[descriptor], start_new_session=True)

    def _stop(self, number: int, _: FrameType | None = None) -> None:
        self._stopping = True
        for process in self._processes:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)

    @staticmethod
    def _forget(pid: int) -> None:
        from prometheus_client import multiprocess

        multiprocess.mark_process_dead(pid)  # type: ignore[no-untyped-call]
