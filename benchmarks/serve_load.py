"""Load on ``anyfm serve``: latencies and requests per second, hot reloads, SIGTERM and memory.

    python -m benchmarks.serve_load MODEL TABLE --items ITEMS --key COLUMN [--seconds 20] [--workers 1] [--clients 8]

TABLE has the columns of MODEL; ITEMS those of the items. Server and load run on the same machine. A connection that
the server closes is opened again, as a load balancer does; every other failure, and every answer but 200, counts as an
error. The result is one line of JSON for each part.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import anyfm


class Client:
    """One connection that is kept open."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self.draining = False

    async def post(self, path: str, body: bytes) -> tuple[int, bytes]:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port, limit=1 << 24)
        reader, writer = self._streams
        writer.write(b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % (path.encode(), len(body)) + body)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(re.search(rb"content-length: (\d+)", head)[1])  # type: ignore[index]
        answer = await reader.readexactly(length)
        if b"\r\nconnection: close" in head:
            self.draining = True
            writer.close()
            self._streams = None
        return int(head[9:12]), answer


class Server:
    """``anyfm serve`` in a process of its own."""

    def __init__(self, model: Path, items: str, key: str, workers: int) -> None:
        command = [sys.executable, "-m", "anyfm", "serve", f"m={model}", "--items", f"m={items}", "--key", key]
        options = ["--port", "0", "--workers", str(workers), "--reload-seconds", "0.2", "--drain-seconds", "2"]
        self.process = subprocess.Popen([*command, *options], stderr=subprocess.PIPE)
        assert self.process.stderr is not None
        os.set_blocking(self.process.stderr.fileno(), True)
        self.port, started = 0, 0
        while started < workers:
            line = self.process.stderr.readline().decode()
            found = re.search(r'"url": "http://[^"]+:(\d+)"', line)
            self.port = int(found[1]) if found else self.port
            started += "Application startup complete" in line
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  (it lives as long as the server)
        self._copy = subprocess.Popen(["cat"], stdin=self.process.stderr, stdout=self._log)

    def megabytes(self) -> float:
        """The resident memory of the server and its workers."""
        pids = [self.process.pid]
        pids += map(int, Path(f"/proc/{pids[0]}/task/{pids[0]}/children").read_text().split())
        pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids)
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def n_tracebacks(self) -> int:
        self._log.seek(0)
        return self._log.read().count(b"Traceback")


async def load(
    server: Server, path: str, body: bytes, clients: int, seconds: float, meanwhile: Any = None
) -> dict[str, Any]:
    """Send one request over and over from some connections."""
    ends, times, errors = time.perf_counter() + seconds, [], []

    async def one() -> None:
        client = Client(server.port)
        while time.perf_counter() < ends and not client.draining:
            began = time.perf_counter()
            try:
                status, answer = await client.post(path, body)
            except (OSError, asyncio.IncompleteReadError, TypeError) as error:
                errors.append(repr(error))
                client = Client(server.port)
                continue
            times.append(time.perf_counter() - began)
            if status != 200:
                errors.append(f"{status} {answer[:200]!r}")

    tasks = [asyncio.create_task(one()) for _ in range(clients)]
    began = time.perf_counter()
    if meanwhile is not None:
        await meanwhile
    await asyncio.gather(*tasks)
    elapsed = time.perf_counter() - began
    p50, p99 = np.quantile(times, [0.5, 0.99]) * 1e3
    return {
        "requests": len(times),
        "per_second": round(len(times) / elapsed),
        "p50_ms": round(p50, 2),
        "p99_ms": round(p99, 2),
        "max_ms": round(1e3 * max(times), 1),
        "errors": len(errors),
        "first_error": errors[0] if errors else None,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("table")
    parser.add_argument("--items", required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--clients", type=int, default=8)
    given = parser.parse_args()
    model = anyfm.load(given.model)
    columns = model.artifact.require_encoder().columns
    rows = pl.read_parquet(given.table)[:500].select(columns).to_dicts()
    own = set(model.items(given.items, key=given.key).context.columns)
    keys = pl.read_parquet(given.items)[given.key].to_list()[:500]
    context = {name: value for name, value in rows[0].items() if name in own}
    bodies = {
        "one row": ("/predict", rows[:1]),
        "500 rows": ("/predict", rows),
        "500 candidates by key": ("/rank", {"context": context, "candidates": keys}),
        "500 candidates as rows": ("/rank", {"context": context, "candidates": rows, "k": 20}),
        "explain one row": ("/explain", rows[:1]),
    }
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder) / "model"
        shutil.copytree(given.model, directory)
        server = Server(directory, given.items, given.key, given.workers)
        try:
            measure(server, bodies, given, directory)
        finally:
            server.process.kill()


def measure(server: Server, bodies: dict[str, Any], given: argparse.Namespace, directory: Path) -> None:
    def show(name: str, result: dict[str, Any]) -> None:
        print(json.dumps({"part": name, "workers": given.workers, **result}), flush=True)

    for clients in (1, given.clients):
        for name, (path, content) in bodies.items():
            body = json.dumps(content).encode()
            asyncio.run(load(server, path, body, clients, 1.0))  # warm
            show(name, {"clients": clients, **asyncio.run(load(server, path, body, clients, given.seconds / 5))})
    path, content = bodies["one row"]
    body = json.dumps(content).encode()

    async def reload() -> None:
        for _ in range(20):
            await asyncio.sleep(given.seconds / 20)
            await asyncio.to_thread(anyfm.load(given.model).save, directory)

    show("20 hot reloads", asyncio.run(load(server, path, body, given.clients, given.seconds + 1, reload())))
    before = server.megabytes()
    result = asyncio.run(load(server, path, body, given.clients, 2 * given.seconds))
    show("memory", {**result, "before_mb": round(before, 1), "after_mb": round(server.megabytes(), 1)})

    async def stop() -> None:
        await asyncio.sleep(1)
        server.process.send_signal(signal.SIGTERM)

    result = asyncio.run(load(server, path, body, given.clients, 30, stop()))
    status = server.process.wait(20)
    show("SIGTERM", {**result, "exit_status": status, "tracebacks": server.n_tracebacks()})


if __name__ == "__main__":
    main()
