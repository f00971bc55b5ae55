"""The contract of wires as tests, which the tests of a wire inherit."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from becket.content import to_messages
from becket.errors import RequestError
from becket.events import DecisionRequested, TextDelta
from becket.testing._contract import Contract, missing, must, not_looked_at
from becket.testing._model_calls import as_failures
from becket.testing._runs import ENDING, Run, unknown, whole_run
from becket.testing.scenarios import Scenarios
from becket.wires import DescribingWire, DocumentWire, RunRequest, Wire

if TYPE_CHECKING:
    from collections.abc import Sequence

    from becket.wires import Encoder

__all__ = ["WireConformance"]

_FAILING: Final = ("fails first", "fails midway")
_LEAST_ERROR: Final = 400


class WireConformance(Contract):
    r"""What every wire that answers requests must do, as tests.

    Subclass it in a test file, and say how a wire is made, what a client sends, and how it reads the answer::

        class TestMyWire(WireConformance):
            def make_wire(self):
                return MyWire()

            def make_body(self, prompt):
                return {"question": prompt}

            def text_of(self, answer):
                return "".join(json.loads(line).get("text", "") for line in answer.splitlines())

    The runs whose events it writes are those of `Scenarios`. A `SocketWire` is tested with
    `SocketWireConformance`.
    """

    scenarios: Sequence[str] = ENDING
    """The scenarios whose answers are read. Leave one out that the format cannot carry."""

    streams: bool = True
    """Whether a client gets each piece of text when it comes, as `make_body` asks for it."""

    refused: Sequence[Any] = ()
    """Bodies that must not be served."""

    def make_wire(self) -> Wire:
        """The wire under test."""
        raise missing(self, "make_wire")

    def make_body(self, prompt: str) -> Any:  # noqa: ARG002  to be overridden
        """What a client posts that asks this, as JSON that was read."""
        raise missing(self, "make_body")

    def text_of(self, answer: bytes) -> str:  # noqa: ARG002  to be overridden
        """The text that a client reads in a whole answer; not that of nested runs."""
        raise missing(self, "text_of")

    def tells_failure(self, answer: bytes) -> bool:
        """Whether a client sees in an answer that the run has failed; here, whether there is an `error` in it."""
        return b"error" in answer.lower()

    # -- what is said of it --------------------------------------------------------------------------------------------

    def test_it_is_named_and_has_its_place(self) -> None:
        """A name, a path of its own, the type of its answers, and whether its clients can be asked."""
        wire = self._wire()
        must(re.fullmatch(r"[A-Za-z0-9_-]+", wire.name), f"the name {wire.name!r} has letters, digits, '-' and '_'")
        must(
            re.fullmatch(r"(/[!-.0-~]+)+", wire.path),
            f"the path begins with a slash, and ends with none: {wire.path!r}",
        )
        must(re.fullmatch(r"[\w.+-]+/[\w.+-]+(;.*)?", wire.media_type), f"{wire.media_type!r} is a content type")
        must(isinstance(wire.asks, bool), f"asks is True or False, not {wire.asks!r}")
        must(isinstance(wire.request_model, type), f"request_model is a type: {wire.request_model!r}")

    def test_documents_and_errors_are_json(self) -> None:
        """What it says beside its answers, where it says such a thing."""
        wire = self._wire()
        if not isinstance(wire, DocumentWire | DescribingWire):
            not_looked_at("it has no documents, and adds nothing to errors")
        if isinstance(wire, DocumentWire):
            for path, document in wire.documents(["scenarios", "an agent"]).items():
                must(path.startswith("/"), f"the path of a document begins with a slash: {path!r}")
                must(_is_json(document), f"the document {path} is JSON: {document!r}")
        if isinstance(wire, DescribingWire):
            for status, code in ((400, "invalid_body"), (401, "unauthorized"), (404, "unknown_agent"), (503, "new")):
                said = wire.describe(RequestError("no", status=status, code=code))
                must(_is_json(dict(said)), f"what is said of the error {code!r} is JSON: {said!r}")

    # -- requests ------------------------------------------------------------------------------------------------------

    def test_a_request_is_read(self) -> None:
        """What the client asks for becomes the prompt."""
        request = self._read(self.make_body("How are you?"))
        must(isinstance(request, RunRequest), f"read gives a RunRequest: {request!r}")
        with as_failures(f"the prompt {request.prompt!r}"):
            last = to_messages(request.prompt)[-1].text
        must(last == "How are you?", f"the prompt is what the client asks: {request.prompt!r}")

    def test_what_cannot_be_served_is_refused_in_words(self) -> None:
        """By `request_model`, or with a `RequestError`: a client must know what to do about it."""
        if not self.refused:
            not_looked_at("say in `refused` which bodies must not be served, so that it can be looked at what is said")
        for body in self.refused:
            try:
                request = self._read(body)
            except RequestError as error:
                must(str(error).strip(), f"{body!r}: the RequestError says nothing")
                must(error.status in range(_LEAST_ERROR, 500), f"{body!r}: its status is one of the client's faults")
            except ValueError:  # pydantic's is one: it says each place and what is wrong there
                pass
            except Exception as error:
                raise AssertionError(f"{body!r}: refuse it with a RequestError, and not by {error!r}") from error
            else:
                raise AssertionError(f"{body!r}: it is to be refused, and becomes {request!r}")

    # -- answers -------------------------------------------------------------------------------------------------------

    async def test_each_scenario_has_its_answer(self) -> None:
        """A client reads the text of the run, whatever else is in it."""
        for name in self.scenarios:
            run = await whole_run(name)
            answer, whole = self._answer(run, f"a run of the scenario {name!r}")
            if whole and name not in _FAILING:
                text, wanted = self._text(answer, name), Scenarios.text(name)
                must(text == wanted, f"{name}: the client reads {text!r}, and the answer is {wanted!r}")

    async def test_a_run_that_fails_is_told(self) -> None:
        """By the status, where nothing was written before, or in the answer: half of one must not pass for a whole."""
        for name in (name for name in self.scenarios if name in (*_FAILING, "text")):
            run = await whole_run(name)
            encoder = self._open(run)
            answer = b"".join([*map(encoder.encode, run.events), encoder.finish()])
            told = encoder.status >= _LEAST_ERROR or self.tells_failure(answer)
            if name == "text":
                must(not told, f"a whole answer passes for one that has failed: {answer!r}")
            else:
                must(told, f"{name}: a client cannot tell this answer from one that is whole: {answer!r}")

    async def test_the_head_can_be_sent(self) -> None:
        """A status, a content type and headers, as HTTP takes them."""
        run = await whole_run("text")
        encoder = self._open(run)
        for event in run.events:
            encoder.encode(event)
        must(encoder.status == 200, f"the status of an answer is 200, not {encoder.status!r}")  # noqa: PLR2004  HTTP's
        must(re.fullmatch(r"[\w.+-]+/[\w.+-]+(;.*)?", encoder.media_type), f"{encoder.media_type!r} is a content type")
        for name, value in encoder.headers.items():
            sound = re.fullmatch(r"[A-Za-z0-9-]+", name) and re.fullmatch(r"[\t -~]*", value)
            must(sound, f"a header is a name and a text without line breaks: {name!r}: {value!r}")
        must("content-type" not in {name.lower() for name in encoder.headers}, "the content type is media_type")

    async def test_its_answers_are_of_the_type_that_it_says(self) -> None:
        """A server takes what the encoder says, and tells clients beforehand what the wire says: they must agree."""
        if not self.streams:
            not_looked_at("`streams` is False: what `media_type` says is the type of answers that come piece by piece")
        said, written = self._wire().media_type, self._open(await whole_run("text")).media_type
        must(
            _type_of(said) == _type_of(written),
            f"the wire's media_type is {said!r}, and that of its encoder is {written!r}, as which answers are served; "
            f"say the same in both (EventStreamEncoder is of text/event-stream, unless yours has a media_type)",
        )

    async def test_text_is_written_when_it_comes(self) -> None:
        """Each piece by itself: nobody waits for the end of an answer to see its beginning."""
        if not self.streams:
            not_looked_at("`streams` is False: the answer comes in one piece")
        run = await whole_run("text")
        encoder = self._open(run)
        for event in run.events:
            written = encoder.encode(event)
            must(written or not isinstance(event, TextDelta), f"the piece {event!r} is written when it comes")

    async def test_a_beat_says_nothing(self) -> None:
        """What keeps a silent connection open may come anywhere, and is not read."""
        run = await whole_run("text")
        encoder = self._open(run)
        pieces = [piece for event in run.events for piece in (encoder.beat(), encoder.encode(event))]
        pieces.append(encoder.finish())
        must(all(isinstance(piece, bytes) for piece in pieces), "encode, beat and finish give bytes")
        text = self._text(b"".join(pieces), "with a beat before each event")
        must(text == Scenarios.text("text"), f"with a beat before each event, the client reads {text!r}")

    async def test_nothing_follows_where_it_is_done(self) -> None:
        """Where the format ends an answer for a decision, the run is parked at this very event, and never before."""
        run = await whole_run("asks")
        encoder, asks = self._open(run), self._wire().asks
        for event in run.events:
            encoder.encode(event)
            if encoder.done:
                must(asks, "it is done before the end, and asks is False")
                must(isinstance(event, DecisionRequested), f"it is done at a decision_requested, and not at {event!r}")
                return

    async def test_what_a_later_becket_tells_does_not_matter(self) -> None:
        """Events of a type that it does not know, and a `RunInfo` with more fields, are no failure."""
        run = await whole_run("text")
        first, *rest = run.events
        events = [first, unknown(run), *rest]
        answer, _ = self._answer(Run(run.later, events), "told by a later becket")
        text = self._text(answer, "told by a later becket")
        must(text == Scenarios.text("text"), f"with an event that it does not know, the client reads {text!r}")

    async def test_answers_are_kept_apart(self) -> None:
        """An encoder is one client's: events of several runs, one among the other."""
        runs = [await whole_run(name) for name in ("nested", "text", "nested")]
        encoders = [self._open(run) for run in runs]
        answers: list[list[bytes]] = [[] for _ in runs]
        with as_failures("three answers at once"):
            for number in range(max(len(run.events) for run in runs)):
                for run, encoder, answer in zip(runs, encoders, answers, strict=True):
                    answer.extend(encoder.encode(event) for event in run.events[number : number + 1])
            for encoder, answer in zip(encoders, answers, strict=True):
                answer.append(encoder.finish())
        for name, answer in zip(("nested", "text", "nested"), answers, strict=True):
            text = self._text(b"".join(answer), name)
            must(text == Scenarios.text(name), f"{name}, one of three answers at once: the client reads {text!r}")

    async def test_events_are_left_as_they_are(self) -> None:
        """Others read them too: the log, sinks, another client."""
        for name in self.scenarios:
            run = await whole_run(name)
            before = [event.to_json() for event in run.events]
            self._answer(run, name)
            for event, seen in zip(run.events, before, strict=True):
                must(event.to_json() == seen, f"an event is left as it is; {seen!r} has become {event.to_json()!r}")

    async def test_an_answer_may_end_at_any_event(self) -> None:
        """A log may have lost its beginning, and a server may stop: what there is is written all the same."""
        run = await whole_run("tools")
        for number in range(len(run.events)):
            self._answer(Run(run.info, run.events[:number]), f"ended after {number} events")

    # -- how the tests use it ------------------------------------------------------------------------------------------

    def _wire(self) -> Wire:
        wire: object = self.make_wire()
        must(isinstance(wire, Wire), f"{wire!r} has what a wire has: see becket.wires.Wire")
        return wire  # type: ignore[return-value]  # looked at

    def _validated(self, wire: Wire, body: Any) -> Any:
        from pydantic import TypeAdapter

        return TypeAdapter(wire.request_model).validate_python(body)

    def _read(self, body: Any) -> RunRequest:
        wire = self._wire()
        return wire.read(self._validated(wire, body))

    def _open(self, run: Run) -> Encoder:
        wire = self._wire()
        return wire.open(self._validated(wire, self.make_body("text")), run.info)

    def _answer(self, run: Run, when: str) -> tuple[bytes, bool]:
        """What is written of a run, up to where the format ends it for a decision, and whether that is the whole."""
        with as_failures(when):
            encoder = self._open(run)
            pieces: list[Any] = []
            for event in run.events:
                pieces.append(encoder.encode(event))
                if done := encoder.done:
                    break
            else:
                done = False
            pieces.append(encoder.finish())
            for piece in pieces:
                must(isinstance(piece, bytes), f"{when}: encode and finish give bytes, and not {piece!r}")
            return b"".join(pieces), not done

    def _text(self, answer: bytes, when: str) -> str:
        with as_failures(f"{when}: reading the answer {answer!r}"):
            return self.text_of(answer)


def _type_of(media_type: str) -> str:
    """Without parameters, such as the charset."""
    return media_type.partition(";")[0].strip().lower()


def _is_json(value: object) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return True
