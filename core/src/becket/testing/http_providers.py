"""The contract of model providers that speak HTTP as tests, which the tests of a provider inherit."""

from __future__ import annotations

import logging
import time
import traceback
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from email.utils import formatdate
from typing import TYPE_CHECKING, Any, Final

import anyio
import pytest

from becket.errors import ConfigError, ProviderError
from becket.events import MessageAdded, RetryScheduled, RunFailed, TextDelta, ToolCallDelta
from becket.retries import Backoff
from becket.testing import _replies as replies
from becket.testing._contract import missing
from becket.testing._model_calls import as_failures, close, closed_after, collected
from becket.testing.loopback import LoopbackServer, Played
from becket.testing.providers import ProviderContract, check

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from becket.content import Usage
    from becket.events import ModelEvent
    from becket.providers import Provider
    from becket.testing.providers import Scenario

__all__ = ["HttpProviderConformance"]

KEY: Final = "sk-becket-0123456789abcdefghij"
"""The key that providers are made with, to be found where it must not be."""

_SILENCE: Final = 0.2  # seconds of silence that end a call
_SIZES: Final = (1, 2, 3, 7, 50)  # bytes of a piece: in the middle of characters, of fields, of line ends


class HttpProviderConformance(ProviderContract):
    """What every model provider that speaks HTTP must do, as tests: those of `ProviderConformance`, and more.

    Subclass it in a test file, and say how the service answers, byte for byte, and how a provider is made::

        class TestMyProvider(HttpProviderConformance):
            said = "Grüße"
            usage = Usage(input_tokens=12, output_tokens=3)
            key_variable = "MY_API_KEY"

            def connect(self, base_url, *, key, read_seconds=None):
                return MyProvider(base_url=base_url, api_key=key, limits=TimeLimits(read=read_seconds))

            def text_reply(self):
                return Played.sse({"text": "Grü"}, {"text": "ße"}, {"in": 12, "out": 3}, "[DONE]")
            ...

    The tests speak with it over a `LoopbackServer`.
    """

    said: str
    """The text of `text_reply`; one that is not ASCII."""

    usage: Usage
    """The tokens of `text_reply`."""

    key_variable: str
    """The environment variable of the key."""

    needed: int | None = None
    """How many pieces of `text_reply` it takes for a whole answer; None for all of them."""

    def connect(self, base_url: str, *, key: str | None, read_seconds: float | None = None) -> Provider:  # noqa: ARG002  to be overridden
        """A provider that asks the service at `base_url`.

        Args:
            base_url: `http://127.0.0.1:PORT`; a path of the service's own is yours to append.
            key: The key; None to let the provider look for one.
            read_seconds: How long the service may send nothing; None for the provider's own limit.
        """
        raise missing(self, "connect")

    def text_reply(self) -> Played:
        """A text, in two deltas or more, each event a piece of the reply."""
        raise missing(self, "text_reply")

    def tool_reply(self) -> Played:
        """A call of the tool `weather` with the argument `city`, each event a piece of the reply."""
        raise missing(self, "tool_reply")

    def parallel_tool_reply(self) -> Played:
        """Two calls of it in one answer, each event a piece of the reply."""
        raise missing(self, "parallel_tool_reply")

    def error_reply(self, status: int, message: str) -> Played:  # noqa: ARG002  to be overridden
        """The service's error document."""
        raise missing(self, "error_reply")

    def error_event(self, message: str) -> bytes | None:  # noqa: ARG002  for those that have one
        """A piece by which a stream that has begun says that the service failed; None where there is none."""
        return None

    def unknown_event(self) -> bytes:
        """A piece that is an event of a type that nobody knows yet."""
        return self._event(b'{"type": "becket.unknown", "becket_unknown": [1]}')

    def malformed_event(self) -> bytes:
        """A piece that is an event which is no JSON."""
        return self._event(b'{"text": "%b", ' % replies.MALFORMED.encode())

    # -- how the tests call it -----------------------------------------------------------------------------------------

    @asynccontextmanager
    async def playing(self, *scenarios: Scenario) -> AsyncIterator[Provider]:
        """A provider at a server that sends these replies, with time to read each piece."""
        async with self._at(*(replies.paced(self._reply(scenario)) for scenario in scenarios)) as provider:
            yield provider

    def usage_of(self, scenario: Scenario) -> Usage | None:
        """That of `text_reply`, which is known."""
        return self.usage if scenario == "text" else None

    async def settled(self) -> None:
        """Wait until the connection of a call that was ended early is closed; one may be kept."""
        await self.server.emptied(to=1, within=self.patience)

    @asynccontextmanager
    async def _at(self, *played: Any, read_seconds: float | None = None) -> AsyncIterator[Provider]:
        """A provider at a server that plays this; when it was closed, no connection of its is open."""
        async with LoopbackServer(*played) as self.server:
            provider = self.connect(self.server.url, key=KEY, read_seconds=read_seconds)
            try:
                yield provider
            finally:
                await provider.aclose()
            await self.server.emptied(within=self.patience)

    def _reply(self, scenario: Scenario) -> Played:
        made = {"text": self.text_reply, "tool": self.tool_reply, "parallel_tools": self.parallel_tool_reply}
        return made[scenario]()

    def _event(self, data: bytes) -> bytes:
        if self.text_reply().headers.get("content-type", "").startswith("text/event-stream"):
            return b"data: %b\n\n" % data
        return data + b"\n"

    @property
    def _needed(self) -> int:
        return len(list(self.text_reply().pieces)) if self.needed is None else self.needed

    async def _refused(self, provider: Provider, what: str) -> ProviderError:
        """The error that a call comes to, which is a `ProviderError` without the key."""
        try:
            with anyio.fail_after(self.patience):
                events = await collected(provider, self.make_request("text"))
        except ProviderError as error:
            shown = "".join(traceback.format_exception(error)) + repr(error)
            check(KEY not in shown, f"{what}: the key is not in the error: {shown}")
            return error
        except Exception as error:
            raise AssertionError(f"{what}: a call raises ProviderError, not {type(error).__name__}: {error}") from error
        raise AssertionError(f"{what}: a call raises ProviderError; it gave {events!r}")

    async def _broken(self, played: Played, what: str, **more: Any) -> ProviderError:
        """The error of a call that is answered so."""
        async with self._at(played, **more) as provider:
            return await self._refused(provider, what)

    async def _keeps_partial(self, played: Played, what: str, **more: Any) -> None:
        """A run keeps the text that had come, marked as interrupted."""
        async with self._at(played, **more) as provider:
            events, error = await self._run(provider, "text")
        check(isinstance(error, ProviderError), f"{what}: a run raises ProviderError, not {error!r}")
        check(isinstance(events[-1], RunFailed), f"{what}: a run ends with RunFailed")
        kept = [event.message for event in events if isinstance(event, MessageAdded) and event.message.interrupted]
        text = kept[0].text if kept else ""
        check(
            text and self.said.startswith(text),
            f"{what}: a run keeps the text that had come: {text!r} of {self.said!r}",
        )

    # -- an answer -----------------------------------------------------------------------------------------------------

    async def test_the_text_is_what_was_sent(self) -> None:
        """Character for character."""
        async with self.playing("text") as provider:
            events = await self._ask(provider, "text")
        said = "".join(event.text for event in events if isinstance(event, TextDelta))
        check(not self.said.isascii(), "said is a text that is not ASCII, so that pieces can end in a character")
        check(said == self.said, f"the text is {self.said!r}, not {said!r}")

    async def test_every_chunking_gives_the_same_events(self) -> None:
        """Down to single bytes, in one piece, with a length, and until the connection is closed."""
        for scenario in self.scenarios:
            reply = self._reply(scenario)
            async with self.playing(scenario) as provider:
                expected = _shapes(await self._ask(provider, scenario))
            ways = {f"pieces of {size} bytes": reply.split(size) for size in _SIZES}
            ways["one piece"] = reply.split(len(reply.body()))
            ways["a length"] = replace(reply, framing="length")
            ways["the connection's end"] = replace(reply, framing="close")
            for name, played in ways.items():
                async with self._at(played) as provider:
                    given = _shapes(await self._ask(provider, scenario))
                check(given == expected, f"{scenario}, sent in {name}, gives {expected}, not {given}")

    async def test_a_compressed_reply_gives_the_same_events(self) -> None:
        """Some that stand between compress it, though nobody asked."""
        for scenario in self.scenarios:
            async with self.playing(scenario) as provider:
                expected = _shapes(await self._ask(provider, scenario))
            async with self._at(replies.gzipped(self._reply(scenario))) as provider:
                given = _shapes(await self._ask(provider, scenario))
            check(given == expected, f"{scenario}, compressed, gives {expected}, not {given}")

    async def test_what_is_not_known_is_ignored(self) -> None:
        """Services add fields and types of events when they like."""
        for scenario in self.scenarios:
            reply = self._reply(scenario)
            async with self.playing(scenario) as provider:
                expected = _shapes(await self._ask(provider, scenario))
            fields = [replies.with_unknown_field(piece) for piece in reply.pieces if isinstance(piece, bytes)]
            async with self._at(replace(reply, pieces=fields)) as provider:
                given = _shapes(await self._ask(provider, scenario))
            check(given == expected, f"{scenario}, with a field more in each event, gives {expected}, not {given}")
            async with self._at(replies.with_piece(reply, 1, self.unknown_event())) as provider:
                given = _shapes(await self._ask(provider, scenario))
            check(given == expected, f"{scenario}, with an event of an unknown type, gives {expected}, not {given}")

    # -- connections ---------------------------------------------------------------------------------------------------

    async def test_a_connection_is_used_again(self) -> None:
        """After a whole reply, also where its last bytes come a moment after the end of the answer."""
        for scenario in self.scenarios:
            reply = self._reply(scenario)
            for played in (reply, replies.paced(reply)):
                async with self._at(played) as provider:
                    for _ in range(3):
                        await self._ask(provider, scenario)
                    used = [request.connection for request in self.server.requests]
                check(used == [1, 1, 1], f"{scenario}: one connection serves call after call, not {used}")

    async def test_a_connection_that_the_service_has_closed_is_not_used_again(self) -> None:
        """Services close what is idle, in silence."""
        async with self._at(replace(self.text_reply(), hang_up=True)) as provider:
            for _ in range(2):
                await self._ask(provider, "text")
                await self.server.emptied(within=self.patience)
                await replies.breath()

    async def test_ending_a_call_closes_the_connection(self) -> None:
        """By a cancellation or by `aclose`, before the head of the reply and after each piece: the service sees it."""
        for scenario in self.scenarios:
            await self._end_at(scenario, Played.raw(), 0, f"{scenario}, before the head of the reply")
            reply = self._reply(scenario)
            for number in range(len(list(reply.pieces))):
                await self._end_at(scenario, reply, number, f"{scenario}, after {number} pieces")

    async def _end_at(self, scenario: Scenario, reply: Played, number: int, when: str) -> None:
        """End a call, whose reply is silent after so many pieces, there."""
        came: list[ModelEvent] = []
        request, silent = self.make_request(scenario), anyio.Event()
        played = replies.stalled(replies.paced(reply), number * 2, silent.set)

        async def read(provider: Provider) -> None:
            stream = provider.stream(request)
            try:
                async for event in stream:
                    came.append(event)  # noqa: PERF401  it is cancelled in the middle
            finally:
                await close(stream)

        async with self._at(played) as provider:
            with as_failures(f"{when}, cancelled"), anyio.fail_after(self.patience):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(read, provider)
                    await silent.wait()
                    tasks.cancel_scope.cancel()
                await self.server.requests[0].gone(within=self.patience)
        if came:
            async with self._at(played) as provider:
                with as_failures(f"{when}, closed"), anyio.fail_after(self.patience):
                    await closed_after(provider, request, len(came))
                    await self.server.requests[0].gone(within=self.patience)

    # -- what is wrong with a reply ------------------------------------------------------------------------------------

    async def test_an_event_that_is_no_json_is_quoted(self) -> None:
        """In a `ProviderError`; a run keeps the text that had come."""
        played = replies.with_piece(self.text_reply(), self._needed - 1, self.malformed_event())
        error = await self._broken(played, "an event that is no JSON")
        check(replies.MALFORMED in str(error), f"an event that is no JSON is quoted in the error: {error}")
        await self._keeps_partial(played, "an event that is no JSON")

    async def test_silence_ends_a_call(self) -> None:
        """Before the head of the reply, after it, and in the middle; a run keeps the text that had come."""
        reply, before = self.text_reply(), self._needed - 1
        for played in (replies.stalled(Played.raw(), 0), *(replies.stalled(reply, count) for count in (0, before))):
            error = await self._broken(played, "silence", read_seconds=_SILENCE)
            check(error.retryable, f"silence may be over later, so the error is retryable: {error}")
        await self._keeps_partial(replies.stalled(reply, before), "silence", read_seconds=_SILENCE)

    async def test_a_stream_that_is_cut_is_an_error(self) -> None:
        """Anywhere, between chunks and in one; it may work later. A run keeps the text that had come."""
        reply = self.text_reply()
        cuts: list[dict[str, Any]] = [{"cut": True}, {"cut": "chunk"}, {"cut": True, "framing": "length"}]
        for count in range(self._needed):
            for how in cuts:
                error = await self._broken(replies.first(reply, count, **how), f"cut after {count} pieces ({how})")
                check(error.retryable, f"cut after {count} pieces ({how}), the error is retryable: {error}")
        for how in cuts:
            await self._keeps_partial(replies.first(reply, self._needed - 1, **how), f"cut ({how})")

    async def test_a_stream_without_its_end_mark_is_an_error(self) -> None:
        """It may be half an answer, though the body ends as it should; a run keeps the text that had come."""
        reply = self.text_reply()
        for count in range(self._needed):
            what = f"ended after {count} of {self._needed} pieces"
            error = await self._broken(replies.first(reply, count), what)
            check(error.retryable, f"{what}, the error is retryable: {error}")
            await self._broken(replies.first(reply, count, framing="close"), what)
        await self._keeps_partial(replies.first(reply, self._needed - 1), "ended without its end mark")

    async def test_a_line_that_does_not_end_is_an_error(self) -> None:
        """Nobody keeps all of it, and the connection is closed."""
        async with self._at(lambda _: replies.endless(self.text_reply())) as provider:
            await self._refused(provider, "a line that does not end")
            await self.server.requests[0].gone(within=self.patience)

    async def test_a_page_is_an_error(self) -> None:
        """What stands between answers with HTML, and 200; asking again helps nobody."""
        page = Played([b"<html><body>Sign in</body></html>"], headers={"content-type": "text/html; charset=utf-8"})
        error = await self._broken(page, "an HTML page")
        check(not error.retryable, f"an HTML page stays one, so the error is not retryable: {error}")

    async def test_an_error_document_with_200_is_an_error(self) -> None:
        """Its message is in the error."""
        error = await self._broken(
            replace(self.error_reply(400, "no such tool"), status=200), "an error document with 200"
        )
        check("no such tool" in str(error), f"the service's message is in the error: {error}")

    async def test_an_error_in_the_stream_is_an_error(self) -> None:
        """Its message is in the error, and a run keeps the text that had come."""
        event = self.error_event("the service is overloaded")
        if event is None:
            pytest.skip("the service has no such event")
        played = replies.with_piece(self.text_reply(), self._needed - 1, event)
        error = await self._broken(played, "an error in the stream")
        check("the service is overloaded" in str(error), f"the service's message is in the error: {error}")
        await self._keeps_partial(played, "an error in the stream")

    # -- what a service refuses ----------------------------------------------------------------------------------------

    async def test_a_status_is_an_error(self) -> None:
        """With the service's message in it, retryable where asking again may help."""
        for status in (400, 403, 404, 429, 500, 502, 503):
            error = await self._broken(self.error_reply(status, f"reason {status}"), f"a {status}")
            check(error.status == status, f"the status of the error is {status}, not {error.status}")
            check(f"reason {status}" in str(error), f"the service's message is in the error of a {status}: {error}")
            wanted = status in {429, 500, 502, 503}
            check(error.retryable is wanted, f"retryable is {wanted} for a {status}: {error}")
            bare = await self._broken(Played([b"\0oops"], status, framing="length"), f"a {status} without a document")
            check(
                (bare.status, bare.retryable) == (status, wanted), f"a {status} without a document is one too: {bare}"
            )

    async def test_retry_after_is_taken_over(self) -> None:
        """In seconds, and as a date."""
        limited = self.error_reply(429, "too many requests")
        for value, least, most in (("7", 7.0, 7.0), (formatdate(time.time() + 60, usegmt=True), 50.0, 60.0)):
            error = await self._broken(
                replace(limited, headers={**limited.headers, "retry-after": value}), f"retry-after: {value}"
            )
            given = error.retry_after
            check(given is not None and least <= given <= most, f"retry-after: {value} gives retry_after={given}")

    async def test_a_run_asks_again_and_has_its_answer(self) -> None:
        """After a 500, where the agent has a retry policy."""
        async with self._at(self.error_reply(500, "try again"), self.text_reply()) as provider:
            events, error = await self._run(provider, "text", retry=Backoff(first=0.01))
        check(error is None, f"a run that may ask again fails: {error!r}")
        check(any(isinstance(event, RetryScheduled) for event in events), "a 500 is asked again")
        check(events[-1].result.text == self.said, f"the answer is {self.said!r}, not {events[-1].result.text!r}")

    async def test_a_redirect_is_not_followed(self) -> None:
        """The key is for one host; the other sees nothing."""
        async with LoopbackServer(self.text_reply()) as other:
            for status in (301, 302, 303, 307, 308):
                error = await self._broken(
                    Played(status=status, headers={"location": f"{other.url}/v1"}, framing="length"), f"a {status}"
                )
                check(not error.retryable, f"a redirect stays one, so the error is not retryable: {error}")
            check(not other.connections, f"the host that a redirect leads to sees nothing: {other.requests}")

    async def test_a_refused_connection_is_an_error(self) -> None:
        """Which may work later."""
        async with LoopbackServer(self.text_reply()) as server:
            url = server.url
        provider = self.connect(url, key=KEY)
        error = await self._refused(provider, "a refused connection")
        await provider.aclose()
        check(error.retryable, f"the service may be there later, so the error is retryable: {error}")
        check(error.status is None, f"there was no status: {error.status}")

    async def test_an_address_that_is_none_is_an_error(self) -> None:
        """`ConfigError` or `ProviderError`, that quotes it."""
        error = await self._unusable("nonsense", KEY, "an address that is none")
        check("nonsense" in str(error), f"an address that is none is quoted in the error: {error}")

    # -- the key -------------------------------------------------------------------------------------------------------

    async def test_the_key_is_shown_nowhere(self) -> None:
        """Not in what a refused call raises and logs, nor in the events of its run, nor in a repr; nor in the URL."""
        with _logged() as records:
            async with self._at(self.error_reply(401, f"Incorrect API key provided: {KEY}.")) as provider:
                error = await self._refused(provider, "a wrong key")
                events, _ = await self._run(provider, "text")
                shown = repr(provider)
                asked = self.server.requests[0]
            async with self._at(self.text_reply()) as provider:
                await self._ask(provider, "text")
        check((error.status, error.retryable) == (401, False), f"a wrong key is a 401 that is not retryable: {error}")
        check(KEY not in shown, f"the key is in the repr of the provider: {shown}")
        check(KEY not in asked.path, f"the key is in the URL, which others log: {asked.path}")
        check(KEY in " ".join(asked.headers.values()), f"the key that was given is sent in a header of {asked!r}")
        for event in events:
            check(KEY.encode() not in event.to_json(), f"the key is in an event: {event!r}")
        for record in records:
            check(KEY not in record, f"the key is in a log record: {record}")

    async def test_the_key_may_come_from_the_environment(self) -> None:
        """From its variable, where none was given."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(self.key_variable, KEY)
            async with LoopbackServer(self.text_reply()) as server:
                provider = self.connect(server.url, key=None)
                await self._ask(provider, "text")
                await provider.aclose()
                sent = " ".join(server.requests[0].headers.values())
        check(KEY in sent, f"the key of {self.key_variable} is sent")

    async def test_without_a_key_the_error_names_the_variable(self) -> None:
        """And nobody is asked."""
        with pytest.MonkeyPatch.context() as patch:
            patch.delenv(self.key_variable, raising=False)
            async with LoopbackServer(self.text_reply()) as server:
                error = await self._unusable(server.url, None, "no key")
                check(self.key_variable in str(error), f"the error names {self.key_variable}: {error}")
                check(not server.requests, "without a key nobody is asked")

    async def _unusable(self, base_url: str, key: str | None, what: str) -> ConfigError | ProviderError:
        """The error of a provider that is made so, when it is made or when it is called."""
        try:
            provider = self.connect(base_url, key=key)
            try:
                await collected(provider, self.make_request("text"))
            finally:
                await provider.aclose()
        except (ConfigError, ProviderError) as error:
            return error
        except Exception as error:
            raise AssertionError(f"{what} raises ConfigError or ProviderError, not {error!r}") from error
        raise AssertionError(f"{what} is an error")


def _shapes(events: list[ModelEvent]) -> list[str]:
    """The events as they are compared: a service that gives calls no ids leaves them to the provider."""
    ids: dict[str, str] = {}
    shapes = []
    for event in events:
        if isinstance(event, ToolCallDelta):
            event.call_id = ids.setdefault(event.call_id, f"call {len(ids) + 1}")  # type: ignore[misc]  # it is ours now
        shapes.append(repr(event))
    return shapes


@contextmanager
def _logged() -> Iterator[list[str]]:
    """What is logged, by whom it may be, with its traceback."""
    records: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(self.format(record))

    root, keep = logging.getLogger(), Keep(logging.DEBUG)
    level = root.level
    root.addHandler(keep)
    root.setLevel(logging.DEBUG)
    try:
        yield records
    finally:
        root.setLevel(level)
        root.removeHandler(keep)
