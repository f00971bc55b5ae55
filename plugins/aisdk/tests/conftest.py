"""A chat as the AI SDK has one, in Python and stricter: answers make messages, and messages the next request."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import pytest
from becket import ConfigError
from becket.testing import Scenarios
from becket_aisdk import AiSdkWire
from pydantic import TypeAdapter

if TYPE_CHECKING:
    from collections.abc import Callable

    from becket import Agent, AgentStream, Event

ANSWERED = ("output-available", "output-error", "output-denied")


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def chat() -> Callable[..., Chat]:
    """Makes a chat with an agent; that of the scenarios where none is given."""
    return lambda agent=None: Chat(agent or Scenarios().agent)


@pytest.fixture(scope="session")
def chat_of() -> type[Chat]:
    """Makes a chat with an agent, also many in one test."""
    return Chat


@pytest.fixture
def reader() -> type[Reader]:
    """Reads the chunks of an answer."""
    return Reader


class Reader:
    """Makes a message of chunks, as the SDK's `processUIMessageStream` does, and refuses more than that.

    It asserts: a start first, and one finish last; nothing but in a step, save what is sent of a step that an earlier
    answer began; no two calls of one id; no fragment without its start; no output without its input; nothing left open
    at the end.
    """

    def __init__(self, message: dict[str, Any] | None = None) -> None:
        self.message: dict[str, Any] = copy.deepcopy(message) or {"id": "", "role": "assistant", "parts": []}
        self.goes_on = message is not None
        self.chunks: list[dict[str, Any]] = []
        self.errors: list[str] = []
        self.data: list[dict[str, Any]] = []
        self.open: dict[tuple[str, str], dict[str, Any]] = {}
        self.finished: str | None = None
        self.aborted = False
        self._in_step = False

    @property
    def parts(self) -> list[dict[str, Any]]:
        return self.message["parts"]

    @property
    def text(self) -> str:
        return "".join(part["text"] for part in self.parts if part["type"] == "text")

    def tools(self) -> list[dict[str, Any]]:
        return [part for part in self.parts if part["type"] == "dynamic-tool"]

    def read(self, stream: bytes) -> Reader:
        """Read a whole answer."""
        *events, rest = stream.decode().split("\n\n")
        assert rest == ""
        assert events.pop() == "data: [DONE]"
        for event in events:
            assert event.startswith("data: ")
            assert "\n" not in event
            self.take(json.loads(event.removeprefix("data: ")))
        assert self.finished is not None
        assert not self.open
        assert not self._in_step
        assert all(part["state"] != "input-streaming" for part in self.tools())
        return self

    def take(self, chunk: dict[str, Any]) -> None:
        assert self.finished is None, f"{chunk} after the end"
        assert (chunk["type"] == "start") == (not self.chunks), chunk
        self.chunks.append(chunk)
        kind, _, verb = chunk["type"].rpartition("-")
        if kind in ("text", "reasoning"):
            self._block(kind, verb, chunk)
        elif chunk["type"].startswith("data-"):
            self._data(chunk)
        elif chunk["type"].startswith("tool-"):
            self._tool(chunk)
        else:
            getattr(self, "_" + chunk["type"].replace("-", "_"))(chunk)

    def _merge(self, metadata: dict[str, Any] | None) -> None:
        if metadata:
            self.message["metadata"] = {**self.message.get("metadata", {}), **metadata}

    def _start(self, chunk: dict[str, Any]) -> None:
        assert not self.goes_on or chunk["messageId"] == self.message["id"]
        self.message["id"] = chunk["messageId"]
        self._merge(chunk.get("messageMetadata"))

    def _start_step(self, _: dict[str, Any]) -> None:
        assert not self._in_step
        self._in_step = True
        self.parts.append({"type": "step-start"})

    def _finish_step(self, _: dict[str, Any]) -> None:
        assert self._in_step
        assert not self.open
        self._in_step = False

    def _reset_step(self, _: dict[str, Any]) -> None:
        assert self._in_step
        self.open.clear()
        while self.parts[-1]["type"] != "step-start":
            self.parts.pop()

    def _finish(self, chunk: dict[str, Any]) -> None:
        self._merge(chunk.get("messageMetadata"))
        self.finished = chunk["finishReason"]

    def _message_metadata(self, chunk: dict[str, Any]) -> None:
        self._merge(chunk["messageMetadata"])

    def _error(self, chunk: dict[str, Any]) -> None:
        self.errors.append(chunk["errorText"])

    def _abort(self, _: dict[str, Any]) -> None:
        self.aborted = True

    def _block(self, kind: str, verb: str, chunk: dict[str, Any]) -> None:
        assert self._in_step
        key = (kind, chunk["id"])
        if verb == "start":
            assert key not in self.open, chunk
            self.open[key] = {"type": kind, "text": ""} | ({"id": chunk["id"]} if kind == "reasoning" else {})
            self.parts.append(self.open[key])
            return
        part = self.open[key]
        if verb == "delta":
            assert chunk["delta"], "an empty piece"
            part["text"] += chunk["delta"]
            return
        assert verb == "end"
        if "providerMetadata" in chunk:
            part["providerMetadata"] = chunk["providerMetadata"]
        part["state"] = "done"
        del self.open[key]

    def _data(self, chunk: dict[str, Any]) -> None:
        self.data.append(chunk)
        if chunk.get("transient"):
            return
        for part in self.parts:
            if part["type"] == chunk["type"] and part["id"] == chunk["id"]:
                part["data"] = chunk["data"]
                return
        self.parts.append(dict(chunk))

    def _current(self, call_id: str) -> dict[str, Any] | None:
        starts = [at for at, part in enumerate(self.parts) if part["type"] == "step-start"]
        step = self.parts[starts[-1] :]
        return next((part for part in step if part.get("toolCallId") == call_id), None)

    def _tool(self, chunk: dict[str, Any]) -> None:  # noqa: C901, PLR0912, PLR0915  as many as there are chunks
        kind = chunk["type"].removeprefix("tool-")
        assert self._in_step or self.goes_on
        if kind == "approval-response":
            part = next(part for part in self.tools() if part.get("approval", {}).get("id") == chunk["approvalId"])
            part["state"] = "approval-responded"
            part["approval"]["approved"] = chunk["approved"]
            if "reason" in chunk:
                part["approval"]["reason"] = chunk["reason"]
            return
        part_or_none = self._current(chunk["toolCallId"])
        if kind in ("input-start", "input-available", "input-error"):
            assert chunk["dynamic"] is True
            if part_or_none is None:
                assert all(part["toolCallId"] != chunk["toolCallId"] for part in self.tools())
                part_or_none = {"type": "dynamic-tool", "toolCallId": chunk["toolCallId"], "input": None}
                self.parts.append(part_or_none)
            else:
                assert kind != "input-start"
            part_or_none["toolName"] = chunk["toolName"]
        assert part_or_none is not None, chunk
        part = part_or_none
        match kind:
            case "input-start":
                part["state"], part["written"] = "input-streaming", ""
            case "input-delta":
                assert part["state"] == "input-streaming"
                assert chunk["inputTextDelta"]
                part["written"] += chunk["inputTextDelta"]
            case "input-available":
                part["state"], part["input"] = "input-available", chunk["input"]
            case "input-error":
                part["state"], part["input"], part["errorText"] = "output-error", chunk["input"], chunk["errorText"]
            case "approval-request":
                assert part["state"] not in ("input-streaming", *ANSWERED)
                part["state"] = "approval-requested"
                part["approval"] = {"id": chunk["approvalId"]}
                if chunk.get("isAutomatic"):
                    part["approval"]["isAutomatic"] = True
                if "reason" in chunk or not chunk.get("isAutomatic"):
                    part["approval"]["descriptor"] = chunk["approvalDescriptor"]
                    part["approval"]["requestReason"] = chunk["reason"]
            case "output-available":
                assert part["state"] not in ("input-streaming", "output-error", "output-denied")
                assert part["state"] != "output-available" or part["preliminary"]
                part["state"], part["output"] = "output-available", chunk["output"]
                part["preliminary"] = chunk.get("preliminary", False)
            case "output-error":
                assert part["state"] != "input-streaming"
                assert part["state"] != "output-available" or part["preliminary"]
                part["state"], part["errorText"] = "output-error", chunk["errorText"]
            case "output-denied":
                assert part["approval"]["approved"] is False
                part["state"] = "output-denied"
            case _:
                raise AssertionError(chunk)


class Chat:
    """A chat with an agent, without a server between: the wire reads, the run is read, the encoder writes.

    Args:
        agent: The agent; whoever reads is asked.

    Attributes:
        messages: The conversation, as the client has it.
        streams: What was sent, each with the message that it goes on with, or None.
        became: What was made of each.
        last: The reader of the last answer.
        parked: The run that waits for a decision, or None.
        events: All events of all runs.
    """

    def __init__(self, agent: Agent) -> None:
        self.wire = AiSdkWire()
        self.agent = agent
        self.messages: list[dict[str, Any]] = []
        self.streams: list[tuple[dict[str, Any] | None, bytes]] = []
        self.became: list[dict[str, Any]] = []
        self.last = Reader()
        self.parked: AgentStream | None = None
        self.events: list[Event] = []

    async def say(self, text: str, *, on: Callable[[Event, AgentStream], object] | None = None) -> Reader:
        """Send a message of the user's; `on` is called with each event."""
        self.messages.append(
            {"id": f"m{len(self.messages)}", "role": "user", "parts": [{"type": "text", "text": text}]}
        )
        return await self._send(None, on)

    async def respond(self, approved: bool | dict[str, bool], reason: str | None = None) -> Reader:
        """Respond to what is asked, all or those approvals that are named."""
        message = self.messages[-1]
        for part in message["parts"]:
            if part.get("state") == "approval-requested":
                name = part["approval"]["id"]
                if not isinstance(approved, dict) or name in approved:
                    said = approved[name] if isinstance(approved, dict) else approved
                    part["state"] = "approval-responded"
                    part["approval"] |= {"approved": said} | ({"reason": reason} if reason else {})
        return await self._send(message, None)

    def complete(self) -> bool:
        """Whether the SDK's `lastAssistantMessageIsCompleteWithApprovalResponses` would send what was answered."""
        parts = self.messages[-1]["parts"]
        starts = [at for at, part in enumerate(parts) if part["type"] == "step-start"]
        tools = [part for part in parts[starts[-1] :] if part["type"] == "dynamic-tool"]
        done = (*ANSWERED, "approval-responded")
        return any(part["state"] == "approval-responded" for part in tools) and all(
            part["state"] in done and not (part["state"] == "output-available" and part["preliminary"])
            for part in tools
        )

    def body(self, **more: Any) -> Any:
        """The request, as it is parsed from what the client would send."""
        sent = json.dumps({"id": "chat", "messages": self.messages, "trigger": "submit-message", **more})
        return TypeAdapter(self.wire.request_model).validate_json(sent)

    async def _send(self, message: dict[str, Any] | None, on: Callable[[Event, AgentStream], object] | None) -> Reader:
        body = self.body() if message is None else self.body(messageId=message["id"])
        request = self.wire.read(body)
        if request.answers:
            assert self.parked is not None
            stream = self.parked
            for name, answer in request.answers.items():
                await stream.decide(name, answer)
        else:
            assert message is None
            agent = self.agent.replace(system_prompt=request.instructions) if request.instructions else self.agent
            stream = agent.stream_async(request.prompt, history=request.history)
        encoder: Any = self.wire.open(body, stream.info)
        written = await self._read(stream, encoder, on)
        self.streams.append((copy.deepcopy(message), written))
        self.last = Reader(message).read(written)
        self.became.append(copy.deepcopy(self.last.message))
        if message is not None:
            self.messages.pop()
        self.messages.append(self.last.message)
        return self.last

    async def _read(
        self, stream: AgentStream, encoder: Any, on: Callable[[Event, AgentStream], object] | None
    ) -> bytes:
        """What the encoder writes of what is left of the run, as a server has it: it leaves a run that waits alone."""
        self.parked = None
        written = []
        await stream.__aenter__()
        try:
            while events := await stream.read():
                for at, event in enumerate(events, start=1):
                    self.events.append(event)
                    written.append(encoder.encode(event))
                    if on is not None:
                        on(event, stream)
                    if encoder.done:
                        stream.unread(events[at:])
                        self.parked = stream
                        return b"".join((*written, encoder.finish()))
        except ConfigError:
            raise
        except Exception:
            assert self.events[-1].type == "run_failed"
        finally:
            if self.parked is None:
                await stream.aclose()
        return b"".join((*written, encoder.finish()))

    async def aclose(self) -> None:
        if self.parked is not None:
            await self.parked.aclose()
