"""The HTTP interface."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Annotated, Any, TypeVar

import numpy as np
import pydantic
from fastapi import FastAPI, HTTPException, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, PlainTextResponse, Response
from pydantic import ConfigDict, TypeAdapter
from pydantic_core import to_json

from anyfm import __version__
from anyfm.core.errors import AnyfmError, InputError, SettingError, got
from anyfm.core.rows import Targets
from anyfm.core.threads import available_threads
from anyfm.explain.contributions import N_TERMS
from anyfm.ranking.recommend import check_k
from anyfm.serving import page, protocol
from anyfm.serving.guard import FAILURE, Guard, RefusedError
from anyfm.serving.metrics import Metrics
from anyfm.serving.models import Registry, Served, UnknownModelError
from anyfm.serving.options import ServeOptions

_SMALL_BYTES = 8192  # a request of up to this size is answered at once, a larger one in a thread
_WAITING_PER_THREAD = 64
_MAX_EXPLAINED = 1000
_JSON = "application/json"
T = TypeVar("T")

Row = dict[str, Any]
ROWS: TypeAdapter[list[Row]] = TypeAdapter(list[Row])


class RankRequest(pydantic.BaseModel):
    """The body of a request to rank."""

    model_config = ConfigDict(strict=True, extra="forbid")
    context: Row
    candidates: list[Any] | None = None
    k: int | None = None
    exclude: list[Any] | None = None


RANK: TypeAdapter[RankRequest] = TypeAdapter(RankRequest)
INFER: TypeAdapter[protocol.InferRequest] = TypeAdapter(protocol.InferRequest)
ModelName = Annotated[str | None, Query(description="The model; needed where there are several.")]
Version = Annotated[str | None, Query(description="By default the newest.")]


class Service:
    """The state of one process that serves."""

    def __init__(self, options: ServeOptions) -> None:
        self.options = options
        self.registry = Registry(options)
        self.metrics = Metrics()
        self.guard: Guard
        n_threads = available_threads()
        self._pool = ThreadPoolExecutor(n_threads, thread_name_prefix="anyfm-serve")
        self._n_waiting, self._max_waiting = 0, n_threads * _WAITING_PER_THREAD

    async def run(self, n_bytes: int, work: Callable[[], T]) -> T:
        """The result of `work`, in a thread unless it is small.

        Raises
        ------
        RefusedError
            Too much work waits, or this takes longer than the limit.
        """
        if n_bytes <= _SMALL_BYTES:
            return work()
        if self._n_waiting >= self._max_waiting:
            raise RefusedError(503, "the server has too much to do; ask again later", retry_after="1")
        self._n_waiting += 1
        future = asyncio.get_running_loop().run_in_executor(self._pool, work)
        future.add_done_callback(self._finished)
        try:
            return await asyncio.wait_for(asyncio.shield(future), self.options.timeout)
        except asyncio.TimeoutError:
            problem = f"the answer takes longer than {self.options.timeout:g} seconds; send fewer rows"
            raise RefusedError(503, problem) from None

    def _finished(self, future: asyncio.Future[Any]) -> None:
        self._n_waiting -= 1
        if not future.cancelled():
            future.exception()  # so that it counts as seen

    def count(self, endpoint: str, served: Served, n: int) -> None:
        self.metrics.rows.labels(endpoint, served.name).inc(n)

    def metrics_text(self) -> bytes:
        self.metrics.reloads.set(self.registry.n_reloads)
        self.metrics.failed_reloads.set(self.registry.n_failed_reloads)
        for served in self.registry.all():
            self.metrics.model(served.name, served.version, served.model.name)
        return self.metrics.text()

    @asynccontextmanager
    async def lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        watcher = asyncio.create_task(self.registry.watch(self.options.reload_seconds))
        yield
        watcher.cancel()
        self._pool.shutdown(wait=False, cancel_futures=True)


def create_app(options: ServeOptions) -> Guard:
    """The ASGI application, with its models loaded.

    Raises
    ------
    AnyfmError
        A model, a table of items or the token cannot be read.
    """
    service = Service(options)
    app = FastAPI(
        title="anyfm",
        version=__version__,
        description="Predictions, rankings and explanations of raw rows; the Open Inference Protocol, version 2.",
        docs_url=None,  # these pages would load scripts from elsewhere
        redoc_url=None,
        lifespan=service.lifespan,
    )
    _add_errors(app)
    _add_protocol(app, service)
    _add_rows(app, service)
    service.guard = Guard(app, options, service.metrics)
    return service.guard


def _add_errors(app: FastAPI) -> None:
    def answer(status: int, problem: str, headers: Any = None) -> Response:
        return Response(to_json({"error": problem}), status, headers, _JSON)

    @app.exception_handler(AnyfmError)
    async def of_anyfm(_: Request, error: AnyfmError) -> Response:
        return answer(404 if isinstance(error, UnknownModelError) else 400, str(error))

    @app.exception_handler(RefusedError)
    async def of_limits(_: Request, refused: RefusedError) -> Response:
        return answer(refused.status, str(refused), refused.headers)

    @app.exception_handler(Exception)
    async def of_server(*_: Any) -> Response:
        return answer(500, FAILURE)

    @app.exception_handler(pydantic.ValidationError)
    async def of_body(_: Request, error: pydantic.ValidationError) -> Response:
        return answer(400, _wrong_body(error.errors(include_url=False)[0]))

    @app.exception_handler(RequestValidationError)
    async def of_query(_: Request, error: RequestValidationError) -> Response:
        return answer(400, _wrong_body(error.errors()[0]))

    @app.exception_handler(HTTPException)
    async def of_http(_: Request, error: HTTPException) -> Response:
        return answer(error.status_code, str(error.detail), error.headers)

    @app.exception_handler(404)
    async def not_found(request: Request, _: Any) -> Response:
        return answer(404, f"there is nothing at {request.url.path[:200]}; /openapi.json lists what there is")

    @app.exception_handler(405)
    async def wrong_method(request: Request, error: Any) -> Response:
        return answer(405, f"{request.url.path[:200]} does not take {request.method}", error.headers)


def _wrong_body(error: Any) -> str:
    place = ".".join(map(str, error["loc"]))
    return f"the request cannot be read: {place + ': ' if place else ''}{error['msg']}"


def _answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    meanings = {
        400: "The request cannot be used as it stands.",
        401: "The token is missing or wrong.",
        404: "There is no such model or version.",
        408: "The request took too long to arrive.",
        413: "The request is too large.",
        503: "The server cannot answer now.",
    }
    schema = {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]}
    return {each: {"description": meanings[each], "content": {_JSON: {"schema": schema}}} for each in statuses}


_ERRORS = _answers(400, 401, 404, 408, 413, 503)


def _body(adapter: TypeAdapter[Any], example: Any) -> dict[str, Any]:
    """The description of a body that the endpoint reads itself."""
    content = {_JSON: {"schema": _inlined(adapter.json_schema()), "example": example}}
    return {"requestBody": {"required": True, "content": content}}


def _inlined(schema: dict[str, Any]) -> dict[str, Any]:
    """A JSON schema without references into itself."""
    definitions = schema.pop("$defs", {})

    def resolved(part: Any) -> Any:
        if isinstance(part, dict):
            if "$ref" in part:
                return resolved(definitions[part["$ref"].rpartition("/")[2]])
            return {name: resolved(each) for name, each in part.items()}
        return [resolved(each) for each in part] if isinstance(part, list) else part

    found: dict[str, Any] = resolved(schema)
    return found


def _json(content: Any, status: int = 200) -> Response:
    return Response(to_json(content), status, media_type=_JSON)


# --- the Open Inference Protocol


def _add_protocol(app: FastAPI, service: Service) -> None:
    registry = service.registry
    tags: list[Any] = ["Open Inference Protocol"]

    @app.get("/v2", tags=tags, responses=_answers(401))
    async def server_metadata() -> Response:
        return _json(protocol.server_metadata())

    @app.get("/v2/health/live", tags=tags)
    async def server_live() -> Response:
        return _json({"live": True})

    @app.get("/v2/health/ready", tags=tags, responses=_answers(503))
    async def server_ready() -> Response:
        ready = not service.guard.draining
        return _json({"ready": ready}, 200 if ready else 503)

    @app.get("/v2/models/{model}", tags=tags, responses=_answers(400, 401, 404))
    @app.get("/v2/models/{model}/versions/{version}", tags=tags, responses=_answers(400, 401, 404))
    async def model_metadata(model: str, version: str | None = None) -> Response:
        served = registry.get(model, version)
        return _json(protocol.model_metadata(served, registry.versions(model)))

    @app.get("/v2/models/{model}/ready", tags=tags, responses=_answers(400, 401, 404, 503))
    @app.get("/v2/models/{model}/versions/{version}/ready", tags=tags, responses=_answers(400, 401, 404, 503))
    async def model_ready(model: str, version: str | None = None) -> Response:
        served, ready = registry.get(model, version), not service.guard.draining
        return _json({"name": served.name, "ready": ready}, 200 if ready else 503)

    tensor = {"name": "user", "shape": [1], "datatype": "BYTES", "data": ["ann"]}
    described: dict[str, Any] = {
        "tags": tags,
        "responses": _ERRORS,
        "openapi_extra": _body(INFER, {"inputs": [tensor]}),
    }

    @app.post("/v2/models/{model}/infer", **described)
    @app.post("/v2/models/{model}/versions/{version}/infer", **described)
    async def infer(request: Request, model: str, version: str | None = None) -> Response:
        body = await request.body()
        served = registry.get(model, version)

        def work() -> bytes:
            asked = INFER.validate_json(body)
            rows = protocol.rows_of(asked, served)
            answer = protocol.infer_response(asked, served, _predictions(served, rows))
            service.count("infer", served, len(rows))
            return to_json(answer)

        return Response(await service.run(len(body), work), media_type=_JSON)


# --- rows as objects


def _add_rows(app: FastAPI, service: Service) -> None:
    registry = service.registry
    one_row = [{"user": "ann", "film": "Alien"}]

    @app.post("/predict", tags=["rows"], responses=_ERRORS, openapi_extra=_body(ROWS, one_row))
    async def predict(request: Request, model: ModelName = None, version: Version = None) -> Response:
        """The probability of the positive class, or the predicted number, of every row."""
        body = await request.body()
        served = registry.get(model, version)

        def work() -> bytes:
            rows = ROWS.validate_json(body)
            predictions = _predictions(served, rows).tolist()
            service.count("predict", served, len(rows))
            return to_json({**_origin(served), "predictions": predictions})

        return Response(await service.run(len(body), work), media_type=_JSON)

    example = {"context": {"user": "ann"}, "candidates": ["Alien", "Heat"], "k": 10}

    @app.post("/rank", tags=["rows"], responses=_ERRORS, openapi_extra=_body(RANK, example))
    async def rank(request: Request, model: ModelName = None, version: Version = None) -> Response:
        """Candidates by falling score for a context: rows, keys of the server's items, or all of its items."""
        body = await request.body()
        served = registry.get(model, version)

        def work() -> bytes:
            asked = RANK.validate_json(body)
            found, n = _ranked(asked, served)
            service.count("rank", served, n)
            return to_json({**_origin(served), **found})

        n_items = 0 if served.items is None else len(served.items)
        return Response(await service.run(len(body) + n_items, work), media_type=_JSON)

    @app.post("/explain", tags=["rows"], responses=_ERRORS, openapi_extra=_body(ROWS, one_row))
    async def explain(
        request: Request,
        model: ModelName = None,
        version: Version = None,
        top: Annotated[int, Query(ge=1, le=10_000, description="Terms listed of each row.")] = N_TERMS,
    ) -> Response:
        """The contributions whose sum is the logit of each row."""
        body = await request.body()
        served = registry.get(model, version)

        def work() -> bytes:
            rows = ROWS.validate_json(body)
            if len(rows) > _MAX_EXPLAINED:
                raise InputError(got(f"at most {_MAX_EXPLAINED:,} rows can be explained at a time", rows=len(rows)))
            explained = served.model.explain(rows).to_dict(top=top)["rows"] if rows else []
            service.count("explain", served, len(rows))
            return to_json({**_origin(served), "rows": explained})

        return Response(await service.run(max(len(body), _SMALL_BYTES + 1), work), media_type=_JSON)

    @app.get("/metrics", tags=["operation"], response_class=PlainTextResponse, responses=_answers(401))
    async def metrics() -> Response:
        """Counters and durations in Prometheus' text format."""
        return Response(service.metrics_text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/", tags=["operation"], response_class=HTMLResponse, responses=_answers(400, 401, 404))
    async def try_a_row(request: Request, model: ModelName = None, version: Version = None) -> Response:
        """A page to try a row by hand."""
        served = registry.get(model or registry.names[0], version)
        asked = dict(request.query_params)
        text = await service.run(_SMALL_BYTES + 1, lambda: page.render(registry, served, asked))
        return HTMLResponse(text, headers={"content-security-policy": page.POLICY, "referrer-policy": "no-referrer"})


def _predictions(served: Served, rows: list[Row]) -> Targets:
    return served.model.predict(rows) if rows else np.empty(0, np.float32)


def _origin(served: Served) -> dict[str, str]:
    return {"model_name": served.name, "model_version": served.version}


def _ranked(asked: RankRequest, served: Served) -> tuple[dict[str, Any], int]:
    """The answer to a request to rank, and how many candidates were scored."""
    candidates, items = asked.candidates, served.items
    if asked.k is not None:
        check_k(asked.k)
    if candidates is not None and candidates and all(isinstance(each, dict) for each in candidates):
        if asked.exclude is not None:
            raise SettingError("exclude names items of the server; leave rows out of the candidates instead")
        scores = served.model.predict([{**asked.context, **each} for each in candidates])
        order = (-scores).argsort(kind="stable")[: asked.k]
        found = [
            {"index": at, "score": score, "rank": rank}
            for rank, (at, score) in enumerate(zip(order.tolist(), scores[order].tolist(), strict=True), start=1)
        ]
        return {"items": found}, len(candidates)
    if items is None:
        raise SettingError("this server has no items of its own (--items FILE --key COLUMN): send candidates as rows")
    unknown: list[Any] = []
    only = None
    if candidates is not None:
        if any(isinstance(each, (dict, list)) for each in candidates):
            raise InputError("candidates must be rows, or keys of the server's items, not both")
        only = [each for each in candidates if each in items]
        unknown = [each for each in candidates if each not in items]
    k = len(items) if asked.k is None else asked.k
    exclude = None if asked.exclude is None else [each for each in asked.exclude if not isinstance(each, (dict, list))]
    best = served.model.recommend(asked.context, items, k, exclude=exclude, only=only)
    return {"items": best.to_dicts(), "unknown": unknown}, len(items if only is None else only)
