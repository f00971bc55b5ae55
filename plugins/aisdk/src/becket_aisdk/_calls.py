"""The tool calls of one answer, from their first fragment to their outcome, and what is asked about them.

The client knows a call by its part, which has one state. Its chat sends what was answered when every call of the last
step has an outcome or an answer, and not before. So an answer that ends since a decision is waited for leaves no other
call of its step open: one that was decided on and waits for its turn is shown as approved, and those that the run comes
to only after the decision are taken back from the client (`reset-step`, then the step without them), to be shown when
their turn has come.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, TypeAlias

from becket.content import Reasoning, Text, ToolResult

from becket_aisdk._chunks import chunk, fragments, quoted
from becket_aisdk._outputs import LOST, output_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from becket import DecisionMade, DecisionRequested, Message, ToolCall, ToolCallDelta, ToolProgress

__all__ = ["Call", "Calls", "Question", "State"]

State: TypeAlias = Literal["written", "shown", "held", "decided", "running", "answered"]
"""Its arguments are being written; the client has it whole; it was taken back from the client; the client was told that
it is decided on, or is asked; it was begun; it has an outcome."""


@dataclass(slots=True)
class Call:
    """A call of a tool, as far as the client knows it.

    Attributes:
        id: What the client calls it.
        tool: The tool's name.
        input: The arguments that the client was shown, or is to be.
        state: See `State`.
        denial: The id of the decision that denied it, and why; None where none did.
        unreadable: Why its arguments cannot be read, and `input` is what the model wrote; empty where they can.
        head: What stands before a fragment of its arguments.
    """

    id: str
    tool: str
    input: object
    state: State
    denial: tuple[str, str] | None = None
    unreadable: str = ""
    head: str = ""


@dataclass(slots=True)
class Question:
    """What somebody is to decide on.

    Attributes:
        request_id: The client's `approvalId`.
        call_id: The call of the answer that it is shown at: its own, or that in which the run that asks is nested.
        why: Why it is asked.
        what: What is to be done, for the client to show.
    """

    request_id: str
    call_id: str
    why: str
    what: object


class Calls:
    """The calls of the step that goes on.

    A run's ids of calls are unique in their step, those of a message's parts in the message; see `name`.

    Args:
        cycle: The step.
        before: The calls of the steps before it.
        calls: Those that there are at the beginning, where an answer goes on.
        asked: What the client was asked about them, and is not decided yet: ids of requests by those of calls.
        answered: Those of the requests that the client has answered; that they are decided is among the next events.
        waiting: What is to be asked when a call has no question any more.
    """

    def __init__(
        self,
        *,
        cycle: int = 1,
        before: Iterable[str] = (),
        calls: Iterable[Call] = (),
        asked: Mapping[str, str] = MappingProxyType({}),
        answered: Collection[str] = (),
        waiting: Iterable[Question] = (),
    ) -> None:
        self._cycle = cycle
        self._before = set(before)
        self._calls = {call.id: call for call in calls}
        self._asked = dict(asked)
        self._answered = answered
        self._waiting = list(waiting)
        self._elsewhere: set[str] = set()
        self._message: Message | None = None

    @property
    def blocked(self) -> bool:
        """Whether nothing can happen before a decision."""
        questions = [call_id for call_id, name in self._asked.items() if name not in self._answered]
        running = (call.id for call in self._calls.values() if call.state == "running")
        return bool(questions) and all(call_id in questions for call_id in running)

    @property
    def written(self) -> bool:
        """Whether there is any."""
        return bool(self._calls)

    @property
    def pending(self) -> dict[str, object]:
        """What the client sends back with the answers, since the encoder of what follows cannot know it otherwise."""
        calls = self._calls.values()
        return {
            "asked": dict(self._asked),
            "running": [call.id for call in calls if call.state == "running"],
            "held": [
                {"toolCallId": call.id, "toolName": call.tool, "input": call.input}
                for call in calls
                if call.state == "held"
            ],
            "waiting": [
                {"approvalId": one.request_id, "toolCallId": one.call_id, "reason": one.why, "descriptor": one.what}
                for one in self._waiting
            ],
        }

    def name(self, call_id: str) -> str:
        """What the client calls a call of this step: its id, and the step too where an earlier one had the same."""
        return f"{call_id}_{self._cycle}" if call_id in self._before else call_id

    def begin(self, cycle: int) -> None:
        """A step begins."""
        self._before.update(self._calls)
        self._cycle = cycle
        self.take_back()

    def take_back(self) -> None:
        """The step, as far as it has come, is none."""
        self._calls, self._message = {}, None
        self._asked, self._waiting = {}, []

    # -- the model writes them ----------------------------------------------------------------------------------------

    def delta(self, event: ToolCallDelta) -> bytes:
        """A fragment of a call's arguments."""
        name = self.name(event.call_id)
        call = self._calls.get(name)
        start = b""
        if call is None:
            head = fragments("tool-input-delta", "toolCallId", name, "inputTextDelta")
            call = self._calls[name] = Call(name, event.tool, None, "written", head=head)
            start = chunk("tool-input-start", {"toolCallId": name, "toolName": call.tool, "dynamic": True})
        if not event.fragment:
            return start
        return start + f"{call.head}{quoted(event.fragment)}}}\n\n".encode()

    def added(self, message: Message) -> bytes:
        """The whole answer of the model."""
        self._message = message
        return b"".join(self._whole(call, "shown") for call in message.tool_calls)

    def _whole(self, given: ToolCall, state: State) -> bytes:
        """A call with its arguments, or why it has none; nothing where the client knows that."""
        name = self.name(given.id)
        known = self._calls.get(name)
        call = self._calls[name] = Call(name, given.tool, given.arguments, state)
        if given.malformed is not None:
            call.input, call.unreadable, call.state = given.malformed.text, given.malformed.reason, "decided"
        if known is None or known.state in ("written", "held") or known.input != call.input:
            return _shown(call)
        call.denial = known.denial
        return b""

    def cut(self) -> bytes:
        """The calls whose arguments have not all come, once it is clear that they will not."""
        left = [call for call in self._calls.values() if call.state == "written"]
        for call in left:
            call.state, call.unreadable = "answered", "the answer ended before the arguments had all come"
        return b"".join(map(_shown, left))

    def lost(self) -> bytes:
        """The calls that will have no outcome, since nothing more is heard of the run."""
        cut = self.cut()
        left = [call for call in self._calls.values() if call.state in ("shown", "decided", "running")]
        return cut + b"".join(self._outcome(call, ToolResult(call.id, "interrupted", (Text(LOST),))) for call in left)

    # -- somebody decides ---------------------------------------------------------------------------------------------

    def asked(self, event: DecisionRequested, call: ToolCall, what: object) -> bytes:
        """A call of this run is asked about; no other of its step has begun."""
        shown = self._whole(call, "decided")
        name = self.name(call.id)
        later = [one for one in list(self._calls.values())[list(self._calls).index(name) :] if one.state == "shown"]
        if later and self._message is not None:
            for one in later:
                one.state = "held"
            shown = self._again(self._message)
        return shown + self._settled() + self._question(Question(event.request_id, name, event.why, what))

    def asked_elsewhere(self, event: DecisionRequested, call: ToolCall, what: object) -> bytes:
        """A call of this run is asked about, and not the client: it is told of that, and of what is decided."""
        self._elsewhere.add(event.request_id)
        name = self.name(call.id)
        return self._whole(call, "decided") + _request(Question(event.request_id, name, event.why, what), answered=True)

    def asked_below(self, event: DecisionRequested, call_id: str, what: object) -> bytes:
        """Something is asked in a run that is nested in a call, by its name. A part has room for one question."""
        question = Question(event.request_id, call_id, event.why, what)
        if call_id in self._asked:
            self._waiting.append(question)
            return b""
        return self._settled() + self._question(question)

    def _again(self, message: Message) -> bytes:
        """The step anew, without the calls that are held."""
        blocks = [block for block in message.content if isinstance(block, Text | Reasoning)]
        calls = [call for call in self._calls.values() if call.state != "held"]
        return b"".join(
            (
                chunk("reset-step"),
                *(finished_block(block, f"again-{at}") for at, block in enumerate(blocks)),
                *map(_shown, calls),
            )
        )

    def _settled(self) -> bytes:
        """The calls that were decided on unasked, and have not begun, as that: they come before what is asked."""
        calls = [call for call in self._calls.values() if call.state == "shown"]
        for call in calls:
            call.state = "decided"
        return b"".join(_unasked(call) for call in calls)

    def _question(self, question: Question) -> bytes:
        self._asked[question.call_id] = question.request_id
        return _request(question)

    def decided(self, event: DecisionMade) -> bytes:
        """What was decided, where the client was asked. What it was not asked about is seen by its outcome."""
        self._waiting = [one for one in self._waiting if one.request_id != event.request_id]
        response = _response(event.request_id, event.reason, approved=event.outcome != "deny")
        if event.request_id in self._elsewhere:
            return response
        at = next((call_id for call_id, name in self._asked.items() if name == event.request_id), None)
        if at is None:
            call = self._calls.get(self.name(event.call_id or ""))
            if call is not None and event.outcome == "deny" and event.parent_run_id is None:
                call.denial = (event.request_id, event.reason)
            return b""
        del self._asked[at]
        following = next((one for one in self._waiting if one.call_id == at), None)
        if following is None:
            return response
        self._waiting.remove(following)
        return response + self._question(following)

    # -- they run -----------------------------------------------------------------------------------------------------

    def started(self, call: ToolCall) -> bytes:
        """A call runs, with these arguments."""
        return self._whole(call, "running")

    def progress(self, event: ToolProgress) -> bytes:
        """What a call reports, as an output that is not the last one."""
        name = self.name(event.call_id)
        return chunk("tool-output-available", {"toolCallId": name, "output": event.data, "preliminary": True})

    def finished(self, result: ToolResult) -> bytes:
        """The outcome of a call."""
        name = self.name(result.call_id)
        call = self._calls.setdefault(name, Call(name, "", {}, "held"))
        return self._outcome(call, result)

    def _outcome(self, call: Call, result: ToolResult) -> bytes:
        shown = _shown(call) if call.state == "held" else b""
        was, call.state = call.state, "answered"
        named: dict[str, object] = {"toolCallId": call.id}
        match result.status:
            case "success":
                return shown + chunk("tool-output-available", named | {"output": output_of(result.content)})
            case "denied":
                if was != "decided":  # the client was told nothing of it, and a part that was denied says why
                    call.denial = call.denial or (f"unasked-{call.id}", result.text)
                    shown += _unasked(call)
                return shown + chunk("tool-output-denied", named)
            case _:
                return shown + chunk("tool-output-error", named | {"errorText": result.text})


def finished_block(block: Text | Reasoning, name: str) -> bytes:
    """A block of text or reasoning that is all there."""
    kind = block.type
    pieces = [chunk(f"{kind}-start", {"id": name})]
    if block.text:
        pieces.append(chunk(f"{kind}-delta", {"id": name, "delta": block.text}))
    sealed = seal(block.signature, block.redacted) if isinstance(block, Reasoning) else {}
    return b"".join((*pieces, chunk(f"{kind}-end", {"id": name, **sealed})))


def seal(signature: str | None, redacted: str | None) -> dict[str, object]:
    """What a model's service wants back with its reasoning, for the client to send it with the next request."""
    own: dict[str, object] = {"signature": signature} if signature else {}
    if redacted:
        own["redacted"] = redacted
    return {"providerMetadata": {"becket": own}} if own else {}


def _shown(call: Call) -> bytes:
    """The call with its arguments, or why it has none."""
    whole: dict[str, object] = {"toolCallId": call.id, "toolName": call.tool, "input": call.input, "dynamic": True}
    if call.unreadable:
        return chunk("tool-input-error", whole | {"errorText": call.unreadable})
    return chunk("tool-input-available", whole)


def _unasked(call: Call) -> bytes:
    """That a call was decided on, and nobody asked."""
    request_id, why = call.denial or (f"unasked-{call.id}", "")
    asked = _request(Question(request_id, call.id, "", None), answered=True)
    return asked + _response(request_id, why, approved=call.denial is None)


def _request(question: Question, *, answered: bool = False) -> bytes:
    """A question; one that is answered elsewhere, or was not asked at all, has the SDK's mark for that."""
    members: dict[str, object] = {"approvalId": question.request_id, "toolCallId": question.call_id}
    if question.what is not None:
        members |= {"approvalDescriptor": question.what, "reason": question.why}
    return chunk("tool-approval-request", members | ({"isAutomatic": True} if answered else {}))


def _response(request_id: str, why: str, *, approved: bool) -> bytes:
    said: dict[str, object] = {"approvalId": request_id, "approved": approved}
    return chunk("tool-approval-response", said | ({"reason": why} if why else {}))
