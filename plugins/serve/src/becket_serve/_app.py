"""The application."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from becket import Agent
from becket.asgi import EventResponse
from becket.errors import RequestError
from becket.sinks import RunInfo
from becket.wires import DescribingWire, SocketWire
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route


from becket_serve._wires import own_wires

if TYPE_CHECKING:
    from collections.abc import Sequence

    from becket.wires import AnyWire, Wire
    from starlette.requests import Request

__all__ = ["app"]


def app(agent: Agent | Sequence[Agent], *, tokens: Sequence[str] = (), **_: Any) -> Starlette:
    """An application that serves these agents in every format that their runtime knows."""
    agents = [agent] if isinstance(agent, Agent) else list(agent)
    wires: dict[str, AnyWire] = {wire.name: wire for wire in own_wires()}
    for entry in agents[0].runtime.wires.contributions():
        wires[entry.item.name] = entry.item
    routes = [
        Route(wire.path, _endpoint(wire, agents), methods=["POST"])
        for wire in wires.values()
        if not isinstance(wire, SocketWire)
    ]
    return Starlette(routes=routes)


def _endpoint(wire: Wire, agents: list[Agent]) -> Any:
    async def endpoint(request: Request) -> Any:
        from pydantic import TypeAdapter, ValidationError

        try:
            try:
                body = TypeAdapter(wire.request_model).validate_json(await request.body())
            except ValidationError as error:
                raise RequestError(str(error), status=422, code="invalid_request") from error
            wanted = wire.read(body)
            found = {agent.name: agent for agent in agents}
            agent = agents[0] if wanted.agent is None else found.get(wanted.agent)
            if agent is None:
                raise RequestError(f"there is no agent {wanted.agent!r}", status=404, code="unknown_agent")
            changes: Any = {"approver": "reader" if wire.asks else agent.approver}
            if wanted.options is not None:
                changes["options"] = wanted.options
            if wanted.instructions:
                changes["system_prompt"] = f"{agent.system_prompt}\n\n{wanted.instructions}".strip()
            agent = agent.replace(**changes)
            stream = agent.stream_async(wanted.prompt, history=wanted.history)
            info = RunInfo(stream.run_id, agent.name, agent.model, wanted.session_id)
            return EventResponse(
                stream, wire.open(body, info, accept=request.headers.get("accept", "")), headers={"run-id": info.run_id}
            )
        except RequestError as error:
            content = {
                "type": "about:blank",
                "status": error.status,
                "detail": str(error),
                "code": error.code,
                **error.members,
                **(wire.describe(error) if isinstance(wire, DescribingWire) else {}),
            }
            return JSONResponse(content, error.status, media_type="application/problem+json")

    return endpoint
