"""Models behind HTTP: mostly the application called in this process, and for the rest a server of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import anyfm
from anyfm.core.errors import ArtifactError, SettingError
from anyfm.serving.app import create_app
from anyfm.serving.options import ServeOptions
from tests.unit.ranking.models import films, model, users

SOURCE = Path(__file__).resolve().parents[2] / "src"
CONTEXT = {"user": 7, "hour": 3, "words": "a|b"}


class Answer:
    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class App:
    """The application, called without a server."""

    def __init__(self, **options: Any) -> None:
        self.guard = create_app(ServeOptions(**options))

    def __call__(
        self, method: str, path: str, body: Any = None, *, headers: dict[str, str] | None = None, parts: int = 1
    ) -> Answer:
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        path, _, query = path.partition("?")
        sent: list[Any] = []
        size = -(-len(content) // parts)
        pieces = [content[at : at + size] for at in range(0, len(content), size)] if size else [b""]
        messages = [
            {"type": "http.request", "body": piece, "more_body": at < len(pieces) - 1}
            for at, piece in enumerate(pieces)
        ]
        given_headers = {} if parts > 1 else {"content-length": str(len(content))}
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(k.encode(), v.encode()) for k, v in {**given_headers, **(headers or {})}.items()],
            "http_version": "1.1",
            "scheme": "http",
            "server": ("test", 80),
            "client": ("127.0.0.1", 1),
            "root_path": "",
        }

        async def receive() -> Any:
            if not messages:
                await asyncio.sleep(3600)
            return messages.pop(0)

        async def send(message: Any) -> None:
            sent.append(message)

        asyncio.run(self.guard(scope, receive, send))
        found = {name.decode().lower(): value.decode() for name, value in sent[0]["headers"]}
        return Answer(sent[0]["status"], found, b"".join(each.get("body", b"") for each in sent[1:]))

    def post(self, path: str, body: Any) -> Answer:
        return self("POST", path, body)

    def get(self, path: str, **options: Any) -> Answer:
        return self("GET", path, **options)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """fm and deepfm with tags and numbers, and the table of their items."""
    directory = tmp_path_factory.mktemp("models")
    model("fm", "ragged").save(directory / "fm")
    model("deepfm", "ragged", seed=1).save(directory / "deepfm" / "9")
    model("deepfm", "ragged", seed=2).save(directory / "deepfm" / "10")
    films(60).write_parquet(directory / "films.parquet")
    return directory


@pytest.fixture(scope="module")
def app(saved: Path) -> App:
    items = f"fm={saved / 'films.parquet'}"
    return App(models=(f"fm={saved / 'fm'}", f"deepfm={saved / 'deepfm'}"), items=(items,), key="film")


@pytest.fixture(scope="module")
def fm(saved: Path) -> anyfm.Model:
    return anyfm.load(saved / "fm")


def rows(n: int = 5) -> list[dict[str, Any]]:
    return users(n, seed=5).hstack(films(n, seed=6)).to_dicts()


# --- the Open Inference Protocol


def test_the_protocol_says_what_there_is(app: App) -> None:
    assert app.get("/v2").json["name"] == "anyfm"
    assert app.get("/v2/health/live").json == {"live": True}
    assert app.get("/v2/health/ready").json == {"ready": True}
    found = app.get("/v2/models/deepfm").json
    assert found["versions"] == ["9", "10"]
    assert {"name": "genres", "datatype": "BYTES", "shape": [-1, -1]} in found["inputs"]
    assert {"name": "user", "datatype": "INT64", "shape": [-1]} in found["inputs"]
    assert found["outputs"] == [{"name": "probability", "datatype": "FP32", "shape": [-1]}]
    assert app.get("/v2/models/fm/ready").json == {"name": "fm", "ready": True}
    assert app.get("/v2/models/deepfm/versions/9/ready").status == 200


def tensors(given_rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    n = len(given_rows)
    kinds = {"user": "INT64", "hour": "INT32", "length": "FP32"}
    found = []
    for name in given_rows[0]:
        values = [row[name] for row in given_rows]
        if name == "genres":  # a matrix, with nulls where a row has fewer
            width = max(map(len, values))
            padded = [[*row, *[None] * (width - len(row))] for row in values]
            found.append({"name": name, "datatype": "BYTES", "shape": [n, width], "data": padded})
        elif name == "words":  # the same, flattened
            width = max(map(len, values))
            flat = [each for row in values for each in [*row, *[None] * (width - len(row))]]
            found.append({"name": name, "datatype": "BYTES", "shape": [n, width], "data": flat})
        else:
            found.append({"name": name, "datatype": kinds.get(name, "BYTES"), "shape": [n], "data": values})
    return found


def as_lists(given_rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    split = ("genres", "words")
    return [{k: [t for t in v.split("|") if t] if k in split else v for k, v in row.items()} for row in given_rows]


def test_inference_is_prediction(app: App, fm: anyfm.Model) -> None:
    given_rows = as_lists(rows())
    answer = app.post("/v2/models/fm/infer", {"id": "a", "inputs": tensors(given_rows)})
    output = answer.json["outputs"][0]
    assert (answer.json["id"], answer.json["model_name"], answer.json["model_version"]) == ("a", "fm", "1")
    assert (output["datatype"], output["shape"]) == ("FP32", [5])
    np.testing.assert_array_equal(np.float32(output["data"]), fm.predict(given_rows))


def test_versions_differ(app: App) -> None:
    body = {"inputs": tensors(as_lists(rows()))}
    newest, old, new = (
        app.post(f"/v2/models/deepfm{part}/infer", body).json["outputs"][0]["data"]
        for part in ("", "/versions/9", "/versions/10")
    )
    assert newest == new != old


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"datatype": "STRING"}, "datatype of the input 'user' must be one of"),
        ({"datatype": "BYTES"}, "must be BYTES, but value 1"),
        ({"data": [True] * 5}, "must be INT64, but value 1 is True"),
        ({"shape": [4]}, "must have 4 values"),
        ({"shape": [5, 1, 1]}, r"shape of the input 'user' must be \[rows\]"),
        ({"shape": [-5]}, r"must be \[rows\]"),
        ({"shape": [1, 5]}, "one value in each row"),
        ({"shape": [1], "data": [1]}, "same number of rows"),
        ({"name": "usr"}, "needs the input 'user'. Did you mean 'usr'"),
        ({"name": "film"}, "name of its own"),
        ({"name": 3}, "inputs.0.name: Input should be a valid string"),
    ],
)
def test_wrong_tensors_are_refused(app: App, change: dict[str, Any], words: str) -> None:
    inputs = tensors(as_lists(rows()))
    place = [each["name"] for each in inputs].index("user")
    inputs.insert(0, {**inputs.pop(place), **change})
    answer = app.post("/v2/models/fm/infer", {"inputs": inputs})
    assert answer.status == 400
    assert re.search(words, answer.json["error"]), answer.json


def test_an_unknown_output_is_refused(app: App) -> None:
    answer = app.post("/v2/models/fm/infer", {"inputs": tensors(as_lists(rows())), "outputs": [{"name": "y"}]})
    assert (answer.status, "'probability'" in answer.json["error"]) == (400, True)


# --- rows


@pytest.mark.parametrize("n", [1, 400])  # 400 are scored in a thread
def test_predictions_are_those_of_the_model(app: App, fm: anyfm.Model, n: int) -> None:
    answer = app.post("/predict?model=fm", rows(n))
    assert (answer.json["model_name"], answer.headers["content-type"]) == ("fm", "application/json")
    np.testing.assert_array_equal(np.float32(answer.json["predictions"]), fm.predict(rows(n)))


def test_no_rows_have_no_predictions(app: App) -> None:
    assert app.post("/predict?model=fm", []).json["predictions"] == []
    assert app.post("/explain?model=fm", []).json["rows"] == []


def test_ranking_the_servers_items(app: App, fm: anyfm.Model) -> None:
    items = fm.items(films(60), key="film")
    answer = app.post("/rank?model=fm", {"context": CONTEXT, "k": 3, "exclude": ["film 4", ["no key"]]})
    assert answer.json["items"] == fm.recommend(CONTEXT, items, 3, exclude=["film 4"]).to_dicts()
    assert answer.json["unknown"] == []
    assert len(app.post("/rank?model=fm", {"context": CONTEXT}).json["items"]) == 60


def test_ranking_keys(app: App, fm: anyfm.Model) -> None:
    everything = fm.rank(CONTEXT, films(60), key="film").to_dicts()
    answer = app.post("/rank?model=fm", {"context": CONTEXT, "candidates": ["film 9", "nope", "film 2"]}).json
    expected = [each for each in everything if each["film"] in ("film 9", "film 2")]
    assert [(each["film"], each["score"]) for each in answer["items"]] == [(e["film"], e["score"]) for e in expected]
    assert [each["rank"] for each in answer["items"]] == [1, 2]
    assert answer["unknown"] == ["nope"]


def test_ranking_rows(app: App, fm: anyfm.Model) -> None:
    everything = fm.rank(CONTEXT, films(60), key="film").to_dicts()
    table = films(60).to_dicts()
    answer = app.post("/rank?model=fm", {"context": CONTEXT, "candidates": table, "k": 7}).json
    found = [(table[each["index"]]["film"], each["score"], each["rank"]) for each in answer["items"]]
    assert found == [(each["film"], each["score"], each["rank"]) for each in everything[:7]]


def test_explanations_add_up(app: App, fm: anyfm.Model) -> None:
    answer = app.post("/explain?model=fm&top=3", rows(4)).json
    logits = fm.logits(rows(4))
    for row, logit in zip(answer["rows"], logits, strict=True):
        assert sum(term["contribution"] for term in row["terms"]) == pytest.approx(row["logit"])
        assert row["logit"] == pytest.approx(float(logit), abs=1e-5)
        assert len(row["terms"]) == 1 + 3 + 2  # the bias, the strongest, and the rest of fields and of pairs


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("/predict?model=fm", b"{", 400, "Invalid JSON"),
        ("/predict?model=fm", b"", 400, "Invalid JSON"),
        ("/predict?model=fm", b"[" * 100_000, 400, "Invalid JSON"),
        ("/predict?model=fm", b'["\xff"]', 400, "Invalid JSON"),
        ("/predict?model=fm", b'[{"user": "\\ud800"}]', 400, "Invalid JSON"),
        ("/predict?model=fm", b'[{"user": 1' + b"0" * 5000 + b"}]", 400, ""),
        ("/predict?model=fm", {"user": 1}, 400, "valid array"),
        ("/predict?model=fm", [1], 400, "0: Input should be an object"),
        ("/predict?model=fm", [{**CONTEXT, "flm": 1}], 400, "column 'film'.*Did you mean 'flm'"),
        ("/predict?model=ffm", [], 404, "there is no model 'ffm', only fm, deepfm. Did you mean 'fm'"),
        ("/predict?model=deepfm&version=8", [], 404, "versions 9, 10, not '8'"),
        ("/predict", [], 404, "several models"),
        ("/rank?model=fm", {"context": CONTEXT, "k": 0}, 400, "k must be an integer of at least 1"),
        ("/rank?model=fm", {"context": CONTEXT, "k": "3"}, 400, "k: Input should be a valid integer"),
        ("/rank?model=fm", {"contxt": {}}, 400, "context: Field required"),
        ("/rank?model=fm", {"context": {}}, 400, "a context must have a value for every column"),
        ("/rank?model=fm", {"context": CONTEXT, "candidates": [{}, "film 1"]}, 400, "rows, or keys"),
        ("/rank?model=deepfm", {"context": CONTEXT}, 400, "no items of its own"),
        ("/explain?model=fm&top=0", [], 400, "top"),
        ("/explain?model=fm", [{}] * 1001, 400, "at most 1,000 rows"),
        ("/nothing", [], 404, "there is nothing at /nothing"),
        ("/metrics", [], 405, "/metrics does not take POST"),
    ],
)
def test_wrong_requests_are_refused_in_plain_words(app: App, path: str, body: Any, status: int, words: str) -> None:
    answer = app.post(path, body)
    assert answer.status == status, answer.body
    assert re.search(words, answer.json["error"]), answer.json


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(row=st.fixed_dictionaries(dict.fromkeys(("user", "hour", "words", "film", "kind", "length", "genres"), values)))
def test_no_value_breaks_the_server(app: App, row: dict[str, Any]) -> None:
    for path, body in (("/predict", [row, row]), ("/explain", [row]), ("/rank", {"context": row, "candidates": [row]})):
        answer = app.post(f"{path}?model=fm", json.dumps(body).encode("utf-8", "replace"))
        assert answer.status in (200, 400), answer.body


# --- limits, token, operation


def test_limits_of_size_and_time(saved: Path) -> None:
    small = App(models=(str(saved / "fm"),), max_bytes=1000, timeout=0.05)
    assert small.post("/predict", b" " * 1001).status == 413
    assert small("POST", "/predict", b" " * 1001, parts=3).status == 413
    assert small("POST", "/predict", b" " * 900, parts=3).status == 400

    async def slow() -> Any:
        await asyncio.sleep(3600)

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/predict", "query_string": b"", "headers": [], "client": None}
    asyncio.run(small.guard(scope, slow, send))
    assert (sent[0]["status"], (b"connection", b"close") in sent[0]["headers"]) == (408, True)


def test_work_that_takes_too_long_or_waits_too_long_is_refused(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(anyfm.Model, "explain", lambda *_: time.sleep(0.5))
    service = app.guard._app.router.lifespan_context.__self__  # type: ignore[attr-defined]
    monkeypatch.setattr(service, "options", ServeOptions(models=("x",), timeout=0.05))
    answer = app.post("/explain?model=fm", rows(1))
    assert (answer.status, "longer than 0.05 seconds" in answer.json["error"]) == (503, True)
    monkeypatch.setattr(service, "_max_waiting", 0)
    answer = app.post("/explain?model=fm", rows(1))
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")


def test_a_failure_is_answered_without_a_traceback(
    app: App, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("inside")

    monkeypatch.setattr(anyfm.Model, "predict", fail)
    answer = app.post("/predict?model=fm", rows(1))
    assert (answer.status, answer.json) == (500, {"error": "the server failed to answer; its log says why"})
    assert "inside" in caplog.text


def test_the_token(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text("secret\n")
    closed = App(models=(str(saved / "fm"),), token_file=str(tmp_path / "token"))
    refused = closed.get("/v2")
    assert (refused.status, "Bearer" in refused.headers["www-authenticate"]) == (401, True)
    for header in ("secret", "Bearer wrong", "Bearer ", "Basic !", "Basic c2VjcmV0"):
        assert closed.get("/v2", headers={"authorization": header}).status == 401, header
    assert closed.get("/v2", headers={"authorization": "Bearer secret"}).status == 200
    assert closed.get("/", headers={"authorization": "Basic dXNlcjpzZWNyZXQ="}).status == 200  # user:secret
    assert closed.get("/v2/health/ready").status == 200
    monkeypatch.setenv("ANYFM_TOKEN", "other")
    assert App(models=(str(saved / "fm"),)).get("/v2").status == 401
    (tmp_path / "token").write_text("")
    with pytest.raises(SettingError, match="token is empty"):
        App(models=(str(saved / "fm"),), token_file=str(tmp_path / "token"))


def test_metrics_count_requests_and_rows(saved: Path) -> None:
    fresh = App(models=(str(saved / "fm"),))
    fresh.post("/predict", rows(3))
    fresh.post("/predict", [{}])
    text = fresh.get("/metrics").body.decode()
    assert 'anyfm_requests_total{endpoint="/predict",status="200"} 1.0' in text
    assert 'anyfm_requests_total{endpoint="/predict",status="400"} 1.0' in text
    assert 'anyfm_rows_total{endpoint="predict",model="fm"} 3.0' in text
    assert 'kind="fm",model="fm",version="1"' in text


def test_the_page_draws_a_row(app: App, fm: anyfm.Model) -> None:
    row = rows(1)[0]
    query = urlencode({"model": "fm", **{f"x.{name}": value for name, value in row.items()}})
    answer = app.get(f"/?{query}")
    text = answer.body.decode()
    assert f"{fm.predict([row])[0]:.4f}" in text
    assert f'value="{row["film"]}"' in text
    assert text.count('class="up"') + text.count('class="down"') > 5
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert not re.search(r"(src|href)=\"(?!/)", text), "the page loads nothing from elsewhere"


def test_the_page_escapes_what_it_shows(app: App) -> None:
    text = app.get("/?" + urlencode({"model": "fm", "x.film": '"><script>alert(1)</script>'})).body.decode()
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert app.get("/?model=%3Cb%3E").headers["content-type"] == "application/json"


def test_the_interface_is_described(app: App) -> None:
    described = app.get("/openapi.json").json
    assert {"/predict", "/rank", "/explain", "/v2/models/{model}/infer"} <= described["paths"].keys()
    assert "$ref" not in json.dumps(described["paths"]["/v2/models/{model}/infer"]["post"]["requestBody"])


def test_what_cannot_be_served(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="is not a model directory"):
        App(models=(str(tmp_path),))
    with pytest.raises(SettingError, match="distinct names"):
        App(models=(str(saved / "fm"), str(saved / "fm")))
    with pytest.raises(SettingError, match="need key"):
        App(models=(str(saved / "fm"),), items=("films.csv",))
    with pytest.raises(SettingError, match="name of a model"):
        App(models=(f"a={saved / 'fm'}", f"b={saved / 'fm'}"), items=("c=x.csv",), key="film")


# --- a server of its own


class Server:
    def __init__(self, *arguments: str, **environment: str) -> None:
        command = [sys.executable, "-m", "anyfm", "serve", *arguments, "--port", "0", "--reload-seconds", "0.05"]
        path = os.pathsep.join([str(SOURCE), os.environ.get("PYTHONPATH", "")])
        self.process = subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path, **environment}
        )
        self.lines: list[str] = []
        assert self.process.stderr is not None
        n_workers = int(arguments[arguments.index("--workers") + 1]) if "--workers" in arguments else 1
        self.port = 0
        for line in self.process.stderr:
            self.lines.append(line)
            found = re.search(r'"url": "http://[^"]+:(\d+)"', line)
            self.port = int(found[1]) if found else self.port
            n_workers -= "startup complete" in line
            if n_workers == 0:
                break
        self._reader = threading.Thread(target=lambda: self.lines.extend(self.process.stderr))
        self._reader.start()

    def stop(self) -> int:
        if self.process.returncode is not None:
            return self.process.returncode
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(20)
        self._reader.join(5)
        self.process.stderr.close()  # type: ignore[union-attr]
        return status

    def request(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request(method, path, None if body is None else json.dumps(body))
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, json.loads(content) if content[:1] in b"{[" else content.decode()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Server, Path]]:
    model("fm").save(tmp_path / "m")
    server = Server(str(tmp_path / "m"), "--workers", "2", "--drain-seconds", "0.5")
    yield server, tmp_path / "m"
    if server.process.poll() is None:
        server.stop()


def test_reloads_and_sigterm_drop_no_request(served: tuple[Server, Path]) -> None:
    server, directory = served
    row, wrong, scores, stopping = rows(1), [], set(), threading.Event()

    def ask() -> None:
        connection = HTTPConnection("127.0.0.1", server.port, timeout=10)
        while True:
            try:
                connection.request("POST", "/predict", json.dumps(row))
                answer = connection.getresponse()
                content = json.loads(answer.read())
            except OSError as error:
                wrong.append(repr(error))
                return
            if answer.status != 200:
                wrong.append(content)
            scores.add(content["predictions"][0])
            if answer.getheader("connection") == "close":  # the server is about to stop
                return

    clients = [threading.Thread(target=ask) for _ in range(4)]
    for client in clients:
        client.start()
    expected = []
    for seed in range(1, 6):
        replacement = model("fm", seed=seed)
        replacement.save(directory)
        expected.append(float(replacement.predict(row)[0]))
        until = time.monotonic() + 10
        while expected[-1] not in {float(np.float32(score)) for score in list(scores)}:
            assert time.monotonic() < until, "the replaced model never answered"
            time.sleep(0.02)
    (directory / "weights.safetensors").write_bytes(b"damaged")
    time.sleep(0.3)
    assert server.request("POST", "/predict", row)[0] == 200
    text = server.request("GET", "/metrics")[1]
    n_rows = float(re.search(r"anyfm_rows_total\{.*\} ([\d.e+]+)", text)[1])  # type: ignore[index]
    assert n_rows >= 20, "both workers are counted"
    stopping.set()
    assert server.stop() == 0
    for client in clients:
        client.join(10)
    assert wrong == []
    assert any("could not be loaded" in line for line in server.lines)
    assert not any("Traceback" in line for line in server.lines)
    logged = [json.loads(line) for line in server.lines]
    assert {line["pid"] for line in logged if line["message"] == "serving"}.__len__() == 2
    request = next(line for line in logged if line["message"] == "request")
    assert request.keys() >= {"time", "level", "request_id", "client", "method", "path", "status", "ms", "bytes"}


def test_a_dead_worker_is_replaced(served: tuple[Server, Path]) -> None:
    server, _ = served
    pids = [json.loads(line)["pid"] for line in server.lines if '"serving"' in line]
    os.kill(pids[0], signal.SIGKILL)
    until = time.monotonic() + 15
    while sum('"serving"' in line for line in server.lines) < 3:
        assert time.monotonic() < until
        time.sleep(0.05)
    assert server.request("POST", "/predict", rows(1))[0] == 200


def test_slow_and_endless_heads_are_ended(tmp_path: Path) -> None:
    model("fm").save(tmp_path / "m")
    server = Server(str(tmp_path / "m"), "--timeout", "0.5", "--drain-seconds", "0")
    with contextlib.ExitStack() as stack:
        stack.callback(server.stop)

        def connected() -> socket.socket:
            return stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=10))

        assert connected().recv(1000).startswith(b"HTTP/1.1 408")  # it sends nothing
        endless = connected()
        endless.sendall(b"GET / HTTP/1.1\r\n" + b"x: " + b"y" * 66_000)
        assert endless.recv(1000).startswith(b"HTTP/1.1 431")
        slow = connected()
        slow.sendall(b"POST /predict HTTP/1.1\r\ncontent-length: 100\r\n\r\n[")
        assert slow.recv(1000).startswith(b"HTTP/1.1 408")
        large = stack.enter_context(contextlib.closing(HTTPConnection("127.0.0.1", server.port, timeout=20)))
        large.request("POST", "/predict", b" " * 10_000_000)
        assert large.getresponse().status == 413
        assert server.request("POST", "/predict", rows(1))[0] == 200
        assert server.stop() == 0


def test_a_port_in_use_and_a_missing_model_are_plain_errors(tmp_path: Path) -> None:
    model("fm").save(tmp_path / "m")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for arguments, words in (
            ([str(tmp_path / "m"), "--port", port], "cannot listen on 127.0.0.1"),
            ([str(tmp_path / "none"), "--port", "0"], "is not a model directory"),
        ):
            done = subprocess.run(
                [sys.executable, "-m", "anyfm", "serve", *arguments],
                env={**os.environ, "PYTHONPATH": str(SOURCE)},
                capture_output=True,
                text=True,
                timeout=30,
            )
            assert done.returncode == 2
            assert words in done.stderr
            assert "Traceback" not in done.stderr
