"""The tests of the contract of wires find every way to break it, and say what is wrong."""

from __future__ import annotations

import dataclasses
import json
import unittest
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from becket import Message, RequestError, Text
from becket.testing import WireConformance
from becket.testing._contract import rules_of
from becket.wires import EventStreamEncoder, RunRequest, server_sent_event

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from becket import Event, RunInfo
    from becket.wires import Encoder, Wire

pytestmark = pytest.mark.anyio


@dataclass
class Question:
    question: str


class Said(EventStreamEncoder):
    """Writes the texts of a run, and what goes wrong."""

    def __init__(self, run: RunInfo) -> None:
        self.run = run
        self.done = False

    def encode(self, event: Any, /) -> bytes:
        if event.run_id != self.run.run_id:
            return b""
        if event.type == "text_delta":
            return self.written(text=event.text)
        if event.type == "decision_requested":
            return self.asked(event)
        return self.written(error=event.error.message) if event.type == "run_failed" else b""

    def asked(self, event: Any) -> bytes:
        return b""

    def written(self, **said: Any) -> bytes:
        return server_sent_event(json.dumps(said).encode())


class Good:
    """A wire without a fault."""

    name = "good"
    path = "/good"
    media_type = "text/event-stream"
    asks = False
    request_model: Any = Question
    encoder: Any = Said

    def read(self, body: Any, /) -> RunRequest:
        if not body.question.strip():
            raise RequestError("the question is empty; ask something", code="empty")
        return RunRequest(prompt=body.question)

    def open(self, body: Any, run: RunInfo, /, *, accept: str = "") -> Encoder:
        made: Encoder = self.encoder(run)
        return made


class Questions(WireConformance):
    """How a client speaks these wires."""

    refused = ({}, {"question": " "}, {"question": 5})

    def make_body(self, prompt: str) -> Any:
        return {"question": prompt}

    def text_of(self, answer: bytes) -> str:
        lines = [line.removeprefix("data: ") for line in answer.decode().split("\n") if line.startswith("data: ")]
        return "".join(json.loads(line).get("text", "") for line in lines)


class TestGood(Questions):
    def make_wire(self) -> Wire:
        return Good()


class Asking(Said):
    def asked(self, event: Any) -> bytes:
        self.done = True
        return self.written(asks=event.request_id)


class Told(Good):
    """Asks, has documents and describes errors, and takes a list of messages."""

    asks = True
    encoder = Asking

    def read(self, body: Any, /) -> RunRequest:
        return RunRequest(prompt=[Message("user", (Text(body.question),))] if super().read(body) else "")

    def describe(self, error: RequestError, /) -> Mapping[str, Any]:
        return {"error": str(error)}

    def documents(self, agents: Sequence[str], /) -> Mapping[str, Any]:
        return {"/agents": list(agents)}


class TestTold(Questions):
    def make_wire(self) -> Wire:
        return Told()


class OneMessage(Good):
    """Takes a message, and no list of them."""

    def read(self, body: Any, /) -> RunRequest:
        return RunRequest(prompt=Message("user", (Text(str(super().read(body).prompt)),)))


class TestOneMessage(Questions):
    def make_wire(self) -> Wire:
        return OneMessage()


# -- wires that break the contract -------------------------------------------------------------------------------------


class Kit(Questions):
    """The tests of the contract, to be called one by one."""

    __test__ = False

    def __init__(self, cls: Any = Good, **changes: Any) -> None:
        self.made = type(cls.__name__, (cls,), changes) if changes else cls

    def make_wire(self) -> Any:
        return self.made()


class DescribesObjects(Told):
    def describe(self, error: RequestError, /) -> Mapping[str, Any]:
        return {"error": error}


class PutsDocumentsNowhere(Told):
    def documents(self, agents: Sequence[str], /) -> Mapping[str, Any]:
        return {"agents": list(agents)}


class PutsObjectsInDocuments(Told):
    def documents(self, agents: Sequence[str], /) -> Mapping[str, Any]:
        return {"/agents": {*agents}}


class ReadsNothing(Good):
    def read(self, body: Any, /) -> Any:
        return body.question


class AsksSomethingElse(Good):
    def read(self, body: Any, /) -> RunRequest:
        return RunRequest(prompt=[Text(body.question), Text("Be brief.")])


class TakesAnything(Good):
    request_model = dict

    def read(self, body: Any, /) -> RunRequest:
        return RunRequest(prompt=str(body.get("question")))


class FailsAtOddBodies(Good):
    request_model = dict

    def read(self, body: Any, /) -> RunRequest:
        return RunRequest(prompt=body["question"])


class SaysNoWhy(Good):
    def read(self, body: Any, /) -> RunRequest:
        if not body.question.strip():
            raise RequestError("")
        return super().read(body)


class BlamesItself(Good):
    def read(self, body: Any, /) -> RunRequest:
        if not body.question.strip():
            raise RequestError("no", status=500)
        return super().read(body)


class EndsLines(Said):
    """Takes a text for one without lines."""

    def written(self, **said: Any) -> bytes:
        return "".join(f"data: {line}\n\n" for line in json.dumps(said, ensure_ascii=False).splitlines()).encode()


class WritesNestedText(Said):
    def encode(self, event: Any, /) -> bytes:
        return self.written(text=event.text) if event.type == "text_delta" else super().encode(event)


class HidesFailure(Said):
    def encode(self, event: Any, /) -> bytes:
        return b"" if event.type == "run_failed" else super().encode(event)


class AlwaysFails(Said):
    def finish(self) -> bytes:
        return self.written(error="the end")


class Created(Said):
    status = 201


class BreaksLines(Said):
    headers = {"x-agent": "a\r\nset-cookie: b"}  # noqa: RUF012  as a careless one has it


class SaysItsTypeTwice(Said):
    headers = {"Content-Type": "text/plain"}  # noqa: RUF012  as above


class HasNoType(Said):
    media_type = ""


class WaitsForTheEnd(Said):
    def __init__(self, run: RunInfo) -> None:
        super().__init__(run)
        self.pieces: list[bytes] = []

    def encode(self, event: Any, /) -> bytes:
        self.pieces.append(super().encode(event))
        return b""

    def finish(self) -> bytes:
        return b"".join(self.pieces)


class BeatsAloud(Said):
    def beat(self) -> bytes:
        return self.written(text=".")


class BeatsInText(Said):
    def beat(self) -> Any:
        return ":\n\n"


class EndsSomewhere(Said):
    def encode(self, event: Any, /) -> bytes:
        self.done = event.type == "tool_started"
        return super().encode(event)


class KnowsAllTypes(Said):
    def encode(self, event: Any, /) -> bytes:
        if event.type == "unknown":
            raise LookupError(event.name)
        return super().encode(event)


class KnowsAllFields(Said):
    def __init__(self, run: RunInfo) -> None:
        _run_id, _agent, _model, _session_id = dataclasses.astuple(run)
        super().__init__(run)


class SharesAnEncoder(Good):
    kept: Any = None

    def open(self, body: Any, run: RunInfo, /, *, accept: str = "") -> Encoder:
        SharesAnEncoder.kept = kept = self.kept or Said(run)
        kept.run = run
        made: Encoder = kept
        return made


class Changes(Said):
    def encode(self, event: Event, /) -> bytes:
        if event.type == "text_delta":
            event.text = event.text.strip()  # type: ignore[misc]
        return super().encode(event)


class WantsABeginning(Said):
    begun = False

    def encode(self, event: Event, /) -> bytes:
        self.begun = True
        return super().encode(event)

    def finish(self) -> bytes:
        if not self.begun:
            raise RuntimeError("nothing has begun")
        return b""


class GivesText(Said):
    def finish(self) -> Any:
        return ""


FAULTS: list[tuple[Kit, str, str]] = [
    (Kit(object), "test_it_is_named_and_has_its_place", "has what a wire has"),
    (Kit(name="a:b"), "test_it_is_named_and_has_its_place", "the name 'a:b' has"),
    (Kit(path="good"), "test_it_is_named_and_has_its_place", "begins with a slash"),
    (Kit(path="/good/"), "test_it_is_named_and_has_its_place", "ends with none: '/good/'"),
    (Kit(media_type="sse"), "test_it_is_named_and_has_its_place", "'sse' is a content type"),
    (Kit(asks="no"), "test_it_is_named_and_has_its_place", "asks is True or False"),
    (Kit(request_model="Question"), "test_it_is_named_and_has_its_place", "request_model is a type"),
    (Kit(DescribesObjects), "test_documents_and_errors_are_json", "said of the error 'invalid_body' is JSON"),
    (Kit(PutsDocumentsNowhere), "test_documents_and_errors_are_json", "begins with a slash: 'agents'"),
    (Kit(PutsObjectsInDocuments), "test_documents_and_errors_are_json", "the document /agents is JSON"),
    (Kit(ReadsNothing), "test_a_request_is_read", "read gives a RunRequest: 'How are you"),
    (Kit(AsksSomethingElse), "test_a_request_is_read", "the prompt is what the client asks"),
    (Kit(TakesAnything), "test_what_cannot_be_served_is_refused_in_words", "{}: it is to be refused, and becomes"),
    (Kit(FailsAtOddBodies), "test_what_cannot_be_served_is_refused_in_words", "and not by KeyError"),
    (Kit(SaysNoWhy), "test_what_cannot_be_served_is_refused_in_words", "the RequestError says nothing"),
    (Kit(BlamesItself), "test_what_cannot_be_served_is_refused_in_words", "one of the client's faults"),
    (Kit(encoder=EndsLines), "test_each_scenario_has_its_answer", "unicode|reading the answer"),
    (Kit(encoder=WritesNestedText), "test_each_scenario_has_its_answer", "nested: the client reads 'nested text"),
    (Kit(encoder=GivesText), "test_each_scenario_has_its_answer", "encode and finish give bytes, and not ''"),
    (Kit(encoder=HidesFailure), "test_a_run_that_fails_is_told", "fails first: a client cannot tell"),
    (Kit(encoder=AlwaysFails), "test_a_run_that_fails_is_told", "a whole answer passes for one that has failed"),
    (Kit(encoder=Created), "test_the_head_can_be_sent", "the status of an answer is 200, not 201"),
    (Kit(encoder=BreaksLines), "test_the_head_can_be_sent", "without line breaks: 'x-agent'"),
    (Kit(encoder=SaysItsTypeTwice), "test_the_head_can_be_sent", "the content type is media_type"),
    (Kit(encoder=HasNoType), "test_the_head_can_be_sent", "'' is a content type"),
    (
        Kit(media_type="application/x-ndjson"),
        "test_its_answers_are_of_the_type_that_it_says",
        "media_type is 'application/x-ndjson', and that of its encoder is 'text/event-stream'",
    ),
    (Kit(encoder=WaitsForTheEnd), "test_text_is_written_when_it_comes", "is written when it comes"),
    (Kit(encoder=BeatsAloud), "test_a_beat_says_nothing", r"the client reads '\.\."),
    (Kit(encoder=BeatsInText), "test_a_beat_says_nothing", "encode, beat and finish give bytes"),
    (Kit(encoder=Asking), "test_nothing_follows_where_it_is_done", "done before the end, and asks is False"),
    (
        Kit(encoder=EndsSomewhere, asks=True),
        "test_nothing_follows_where_it_is_done",
        "at a decision_requested, and not",
    ),
    (Kit(encoder=KnowsAllTypes), "test_what_a_later_becket_tells_does_not_matter", "raised LookupError"),
    (Kit(encoder=KnowsAllFields), "test_what_a_later_becket_tells_does_not_matter", "too many values"),
    (Kit(SharesAnEncoder), "test_answers_are_kept_apart", "one of three answers at once: the client reads ''"),
    (Kit(encoder=Changes), "test_events_are_left_as_they_are", "an event is left as it is"),
    (Kit(encoder=WantsABeginning), "test_an_answer_may_end_at_any_event", "ended after 0 events, it raised"),
]


async def held(kit: Any, rule: str) -> None:
    """Make a test, as pytest does."""
    made = getattr(kit, rule)()
    if made is not None:
        await made


@pytest.mark.parametrize(("kit", "rule", "said"), FAULTS)
async def test_a_wire_that_breaks_the_contract_is_found(kit: Kit, rule: str, said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        await held(kit, rule)


def test_every_test_of_the_contract_finds_a_fault() -> None:
    assert {rule for _, rule, _ in FAULTS} == set(rules_of(WireConformance))


async def test_what_was_not_said_is_not_looked_at() -> None:
    kit = Kit()
    kit.refused, kit.streams = (), False
    with pytest.raises(Exception, match="say in `refused`"):
        await held(kit, "test_what_cannot_be_served_is_refused_in_words")
    with pytest.raises(Exception, match="the type of answers that come piece by piece"):
        await held(kit, "test_its_answers_are_of_the_type_that_it_says")
    with pytest.raises(Exception, match="the answer comes in one piece"):
        await held(kit, "test_text_is_written_when_it_comes")


async def test_a_wire_and_its_encoder_may_say_the_charset_differently() -> None:
    await held(Kit(media_type="text/event-stream; charset=utf-8"), "test_its_answers_are_of_the_type_that_it_says")


@pytest.mark.parametrize("left_out", ["describe", "documents"])
async def test_a_wire_may_say_one_without_the_other(left_out: str) -> None:
    only = type("Only", (Good,), {name: getattr(Told, name) for name in ("describe", "documents") if name != left_out})
    await held(Kit(only), "test_documents_and_errors_are_json")


async def test_what_a_wire_does_not_say_is_not_looked_at() -> None:
    with pytest.raises(unittest.SkipTest, match="it has no documents"):
        await held(Kit(), "test_documents_and_errors_are_json")


@pytest.mark.parametrize(("method", "arguments"), [("make_wire", ()), ("make_body", ("",)), ("text_of", (b"",))])
def test_a_class_that_does_not_say_what_is_tested_fails(method: str, arguments: tuple[Any, ...]) -> None:
    with pytest.raises(NotImplementedError, match=f"define {method}"):
        getattr(WireConformance(), method)(*arguments)
