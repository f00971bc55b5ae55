"""The description of a server: OpenAPI 3.1, made of the wires' request models and the server's own bodies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from becket import __version__
from pydantic import TypeAdapter

from becket_serve._gate import RUN_ID
from becket_serve._problems import MEDIA_TYPE, logger
from becket_serve._wires import NDJSON

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from becket.wires import Wire

__all__ = ["described"]

_REFS: Final = "#/components/schemas/{model}"

_STATUSES: Final = {
    400: "The body is no JSON, or the request is not sound.",
    401: "The request has no token that is known.",
    403: "Pages of the site that the request comes from may not call this server.",
    404: "There is no such agent, run or path.",
    406: "The request accepts none of the forms that the answer could have.",
    409: "The run is over, does not wait for this decision, or has not had this event; or its session is in use.",
    410: "Events that the client has not seen are no longer kept: `first` is the first that is, `last` the newest.",
    413: "The body or the prompt is too long.",
    415: "The body is not JSON by its content type.",
    421: "The server is not called by this name.",
    422: "The body does not fit, or asks for what cannot be done.",
    429: "Too many runs go on; `Retry-After` says when to ask again.",
    500: "The server has failed; its log says why.",
    502: "The model service has failed before anything was answered.",
    503: "The server is being stopped.",
}

_EVERYWHERE: Final = (400, 401, 403, 404, 421, 500)
_WITH_BODY: Final = (413, 415, 422)
_STARTING: Final = (406, 409, 429, 502, 503)

_PROBLEM: Final = {
    "type": "object",
    "description": "An error, as RFC 9457 has it.",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "For a person to read."},
        "code": {"type": "string", "description": "For a program."},
    },
    "required": ["type", "title", "status", "detail", "code"],
}

_RUN_ID: Final = {
    "name": "run_id",
    "in": "path",
    "required": True,
    "description": f"As the header `{RUN_ID}` of the answer that the run was started with says it, and every event.",
    "schema": {"type": "string"},
}
_AFTER: Final = [
    {
        "name": "after",
        "in": "query",
        "description": "The `seq` of the last event that was seen; 0 for none.",
        "schema": {"type": "integer", "minimum": 0, "maximum": 10**15 - 1},
    },
    {
        "name": "Last-Event-ID",
        "in": "header",
        "description": "The same, as a browser's EventSource says it; it goes before `after`.",
        "schema": {"type": "string", "pattern": "^[0-9]{1,15}$"},
    },
]


def described(
    wires: Mapping[str, tuple[Wire, TypeAdapter[Any]]], documents: Iterable[str], *, token: bool
) -> dict[str, Any]:
    """The description.

    Args:
        wires: The wires, by path, and what reads their bodies.
        documents: The paths of the wires' documents.
        token: Whether requests need a token.
    """
    from becket_serve._models import Decision

    decision: TypeAdapter[Any] = TypeAdapter(Decision)
    bodies, schemas = _schemas({**{path: adapter for path, (_, adapter) in wires.items()}, "decision": decision})
    paths: dict[str, Any] = {path: {"post": _wire(wire, bodies[path])} for path, (wire, _) in wires.items()}
    paths |= {path: {"get": _read("A document for the clients of a wire.")} for path in documents}
    paths |= {
        "/runs/{run_id}/events": {"parameters": [_RUN_ID], "get": _events()},
        "/runs/{run_id}/cancel": {"parameters": [_RUN_ID], "post": _cancel()},
        "/runs/{run_id}/decisions": {"parameters": [_RUN_ID], "post": _decisions(bodies["decision"])},
        "/healthz": {"get": _health("The server runs.")},
        "/readyz": {"get": _health("The server takes runs.", 503)},
        "/openapi.json": {"get": _read("This description.")},
    }
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "becket", "version": __version__, "description": "Agents, in the formats of their clients."},
        "paths": paths,
        "components": {"schemas": {**schemas, "Problem": _PROBLEM}},
    }
    if token:
        document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"token": []}]
    return document


def _schemas(adapters: Mapping[str, TypeAdapter[Any]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The schemas of bodies, and what they refer to. Of a model that has none, that it is JSON."""
    usable = {name: adapter for name, adapter in adapters.items() if _has_schema(name, adapter)}
    made, shared = TypeAdapter.json_schemas(
        [(name, "validation", adapter) for name, adapter in usable.items()], ref_template=_REFS
    )
    bodies = {name: made[(name, "validation")] for name in usable}
    return {name: bodies.get(name, {}) for name in adapters}, shared.get("$defs", {})


def _has_schema(name: str, adapter: TypeAdapter[Any]) -> bool:
    try:
        adapter.json_schema()
    except Exception as error:  # noqa: BLE001  a plugin's model: the route works all the same
        logger().warning("the body that %s takes is not in /openapi.json: %s", name, error)
        return False
    return True


def _wire(wire: Wire, schema: Mapping[str, Any]) -> dict[str, Any]:
    others = {"text": (), "events": (NDJSON,)}.get(wire.name, ("*/*",))  # a wire has its media type as a rule
    forms = dict.fromkeys((wire.media_type, *others))
    problems = _problems(*_WITH_BODY, *_STARTING)
    problems["502"] = _answer(_STATUSES[502], wire.media_type, MEDIA_TYPE)  # told in the wire's own way
    return {
        "summary": f"A run, answered in the format '{wire.name}'.",
        "requestBody": _body(schema),
        "responses": {"200": _answer("The run.", *forms), **problems},
    }


def _events() -> dict[str, Any]:
    return {
        "summary": "What a run has done since, and what it does.",
        "parameters": _AFTER,
        "responses": {
            "200": _answer("The events.", "text/event-stream", NDJSON),
            "204": {"description": "The run is over, and all its events were seen."},
            **_problems(406, 409, 410, 422),
        },
    }


def _cancel() -> dict[str, Any]:
    return {"summary": "End a run.", "responses": {"202": _answer("It ends."), **_problems(409)}}


def _decisions(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "summary": "Decide on a tool call that a run has asked about.",
        "requestBody": _body(schema),
        "responses": {"202": _answer("It was told."), **_problems(*_WITH_BODY, 409)},
    }


def _health(summary: str, *statuses: int) -> dict[str, Any]:
    return {"summary": summary, "security": [], "responses": {"200": _answer("Yes."), **_problems(*statuses)}}


def _read(summary: str) -> dict[str, Any]:
    return {"summary": summary, "responses": {"200": _answer("It."), **_problems()}}


def _body(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def _answer(description: str, *forms: str) -> dict[str, Any]:
    """An answer in some forms, JSON unless they are told. What a stream is made of, OpenAPI 3.1 cannot say."""
    return {
        "description": description,
        "content": {form: _FORMS.get(form, {}) for form in forms or ["application/json"]},
    }


_FORMS: Final = {
    "application/json": {"schema": {"type": "object"}},
    "text/plain": {"schema": {"type": "string"}},
    MEDIA_TYPE: {"schema": {"$ref": _REFS.format(model="Problem")}},
}


def _problems(*statuses: int) -> dict[str, Any]:
    return {str(status): _answer(_STATUSES[status], MEDIA_TYPE) for status in sorted({*_EVERYWHERE, *statuses})}
