"""The contract of masks as tests, which the tests of a mask inherit."""

from __future__ import annotations

import gc
import json
import re
import tracemalloc
from collections import Counter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from anyio.lowlevel import checkpoint

from becket._marker import hookimpl
from becket.agent import Agent
from becket.errors import ProviderError
from becket.events import ModelFinished, ReasoningDelta, RunFailed, TextDelta, ToolCallDelta
from becket.masks import Mask
from becket.runtime import Runtime
from becket.session import SessionState
from becket.testing._blocking import kept_at
from becket.testing._contract import Contract, missing, must, not_looked_at
from becket.testing._model_calls import as_failures
from becket.testing._runs import whole_run
from becket.testing.fakes import ScriptedProvider, text
from becket.testing.scenarios import UNICODE
from becket.tools import ToolContext, tool

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from becket.events import Event
    from becket.masks import MaskStream
    from becket.testing.fakes import Step

__all__ = ["MaskConformance"]

ORDINARY: Final = ("Good morning.", "", " \t\r\n ", "".join(UNICODE), '{"said": ["a \\"word\\"", null]}')
"""Texts in which hardly any mask finds a secret."""

_NO_TEXTS: Final[Mapping[str, Sequence[str]]] = MappingProxyType({})
_LONG: Final = 32_768
_PIECE: Final = 1024
_ENDLESS: Final = 200_000
_LOUD: Final = re.compile(r"[\"'`\\\x00-\x1f\x7f]")


class MaskConformance(Contract):
    """What every mask must do, as tests.

    Subclass it in a test file, say how a mask is made, what it hides, and what it leaves alone::

        class TestMyMask(MaskConformance):
            hides = {"It is P-123456.": ["P-123456"]}
            leaves = ["Good morning.", "P-12345 is too short, and P no number."]
            holds = 7

            def make_mask(self):
                return MyMask()

    Each of these texts is masked whole, in pieces cut at every place, ended at every place, in JSON, and in runs.
    """

    hides: Mapping[str, Sequence[str]] = _NO_TEXTS
    """Texts, and the secrets in each of them, none longer than `holds`."""

    leaves: Sequence[str] = ORDINARY
    """Texts without a secret, of which nothing is changed."""

    holds: int = 65_536
    """The most characters of a text that may be held back."""

    blocks: float = 0.1
    """Seconds for which it may keep the event loop from everything else, with a text of 32,768 characters."""

    cuts: int = 200
    """The most places at which a text is cut, or ended."""

    def make_mask(self) -> Mask:
        """The mask under test."""
        raise missing(self, "make_mask")

    # -- whole texts ---------------------------------------------------------------------------------------------------

    def test_it_is_named(self) -> None:
        """Errors name it."""
        name = self._mask().name
        must(re.fullmatch(r"[A-Za-z0-9_-]+", name), f"the name {name!r} has letters, digits, '-' and '_'")

    def test_its_secrets_are_masked(self) -> None:
        """Nothing of what `hides` names is in what is shown."""
        mask = self._mask()
        for given, secrets in self._hidden():
            shown = _masked(mask, given)
            for secret in secrets:
                must(
                    secret not in shown, f"{_shown(given)}: the secret {secret!r} is in what is shown: {_shown(shown)}"
                )

    def test_what_is_no_secret_is_left_as_it_is(self) -> None:
        """A text without one is the same text: nothing is trimmed, normalized or escaped."""
        mask = self._mask()
        for given in self.leaves:
            shown = _masked(mask, given)
            must(shown == given, f"there is no secret in {_shown(given)}, and it has become {_shown(shown)}")

    def test_masked_once_more_it_is_the_same(self) -> None:
        """What stands for a secret is itself none: text is masked again when the model or a tool repeats it."""
        mask = self._mask()
        for given in self._texts():
            shown = _masked(mask, given)
            must(_masked(mask, given) == shown, f"{_shown(given)}: it becomes {_shown(shown)}, and then something else")
            again = _masked(mask, shown)
            must(
                again == shown,
                f"{_shown(given)}: it becomes {_shown(shown)}, and that, masked once more, {_shown(again)}; let what "
                f"stands for a secret be none",
            )

    def test_arguments_stay_json(self) -> None:
        """They are masked as text: what stands for a secret has no quotes, backslashes or control characters in it."""
        mask = self._mask()
        for given in self._texts():
            loud = Counter(_LOUD.findall(_masked(mask, given))) - Counter(_LOUD.findall(given))
            must(
                not loud,
                f"{_shown(given)}: what stands for its secret has {', '.join(map(repr, loud))} in it: leave that out, "
                f"since arguments of tools are masked as the text of a JSON object",
            )
            for whole in _as_json(given):
                shown = _masked(mask, whole)
                must(_is_object(shown), f"{_shown(whole)} was a JSON object, and is none any more: {_shown(shown)}")
                for secret in self.hides.get(given, ()):
                    hidden = json.dumps(secret)[1:-1] != secret or secret not in shown
                    must(hidden, f"the secret {secret!r} is in what is shown of {_shown(whole)}: {_shown(shown)}")

    # -- texts in pieces -----------------------------------------------------------------------------------------------

    def test_cut_anywhere_it_is_masked_alike(self) -> None:
        """However a text comes in pieces, what is shown, put together, is what `mask` makes of the whole."""
        mask = self._mask()
        for given in (*self._texts(), "\n".join(self._texts())):
            wanted = _masked(mask, given)
            for pieces in _cut(given, self.cuts):
                shown = _streamed(mask, pieces)
                must(
                    shown == wanted,
                    f"{_shown(given)}: whole, it becomes {_shown(wanted)}; as {_shown(pieces)} it becomes "
                    f"{_shown(shown)}: hold back what may still become a secret, and show nothing twice",
                )

    def test_a_text_may_end_anywhere(self) -> None:
        """In the middle of a secret too: `end` gives what was held back, masked."""
        mask = self._mask()
        for given in self._texts():
            for at in _places(given, self.cuts):
                begun = given[:at]
                shown, wanted = _streamed(mask, begun), _masked(mask, begun)
                must(
                    shown == wanted,
                    f"{_shown(begun)}, which ends there, becomes {_shown(wanted)} whole, and {_shown(shown)} letter by "
                    f"letter: let end give what was held back, masked",
                )

    def test_text_is_shown_while_it_comes(self) -> None:
        """What cannot become a secret is shown at once: readers do not wait for the end of an answer."""
        mask = self._mask()
        for given in filter(None, self.leaves):
            whole = f"{given} " * (3 * self.holds // len(given) + 3)
            if _masked(mask, whole) != whole:
                continue
            stream, fed, shown = mask.open(), 0, 0
            for piece in _pieces(whole, min(_PIECE, self.holds)):
                fed, shown = fed + len(piece), shown + len(_fed(stream, piece))
                must(
                    fed - shown <= self.holds,
                    f"of {_shown(given)}, again and again, {fed:,} characters have come, and {shown:,} are shown: hold "
                    f"back what may still become a secret, at most {self.holds:,} characters, and nothing else",
                )

    def test_what_is_held_back_has_a_bound(self) -> None:
        """A secret that never ends does not fill the memory: what is beyond the bound is masked, not shown."""
        mask, length = self._mask(), max(_ENDLESS, 8 * self.holds)
        for _, secrets in self._hidden():
            for secret in secrets:
                for begun in (secret[: len(secret) // 2 + 1], secret):
                    endless = [begun, *_pieces(begun[-1] * length, _PIECE)]
                    _kept(mask, endless[:2])  # what its first text makes, such as an expression, stays
                    kept = _kept(mask, endless)
                    must(
                        kept < length * _width(begun) // 2,
                        f"after {begun!r}, whose last character came {length:,} times more, the stream keeps {kept:,} "
                        f"bytes; let what is held back have a bound, and mask what is beyond it",
                    )

    def test_texts_are_kept_apart(self) -> None:
        """`open` gives what masks one text: those of other blocks and other runs come at the same time."""
        mask, texts = self._mask(), [*self._texts(), *self._texts()]
        streams = [mask.open() for _ in texts]
        shown = [""] * len(texts)
        for at in range(max(map(len, texts))):
            for number, stream in enumerate(streams):
                shown[number] += _fed(stream, texts[number][at : at + 1])
        for number, stream in enumerate(streams):
            whole, wanted = shown[number] + _ended(stream), _masked(mask, texts[number])
            must(
                whole == wanted,
                f"{_shown(texts[number])}, one of {len(texts)} texts at once, becomes {_shown(whole)}, and not "
                f"{_shown(wanted)}: keep what was held back in what open gives",
            )

    # -- in a run ------------------------------------------------------------------------------------------------------

    async def test_it_is_quick(self) -> None:
        """It is asked for every text of every run, on the event loop: it computes, and waits for nothing."""
        mask = self._mask()
        texts = [given for one in self._texts() if one for given in (one, (one * (_LONG // len(one) + 1))[:_LONG])]

        async def work() -> None:
            for given in texts:
                _masked(mask, given)
                await checkpoint()
                stream = mask.open()
                for piece in _pieces(given, _PIECE):
                    _fed(stream, piece)
                    await checkpoint()
                _ended(stream)
                await checkpoint()

        await work()  # its first call may take longer
        # What keeps it does so each time; a machine that is busy with something else does not.
        found = await kept_at(self.blocks, work) and await kept_at(self.blocks, work)
        must(
            not found,
            f"it keeps the event loop from everything else for more than {self.blocks:g} s, at {found}; look at a text "
            f"once, and load what is needed when the mask is made, or with its first call",
        )

    async def test_a_run_shows_nothing_of_it(self) -> None:
        """No event has a secret in it, wherever it was said, nor has what the model is sent next."""
        for given, secrets in self._hidden():
            model = ScriptedProvider(_calls(given), [*_said(given), ModelFinished("end_turn")])
            failing = ScriptedProvider([ProviderError(given, provider="scripted")])
            events = await self._events(given, model)
            must(not isinstance(events[-1], RunFailed), f"a run with {_shown(given)} in it fails: {events[-1]!r}")
            texts = [*_strings([json.loads(event.to_json()) for event in events]), *_streams(events)]
            sent = [SessionState("", "", [*request.messages]) for request in model.requests]
            texts += _strings([json.loads(state.to_json()) for state in sent])
            texts += _strings([json.loads(event.to_json()) for event in await self._events(given, failing)])
            for secret in secrets:
                seen = [one for one in texts if secret in one]
                must(not seen, f"the secret {secret!r} is seen in a run: {_shown(seen[:1])}")

    async def test_a_run_is_as_without_it(self) -> None:
        """Where there is no secret, the model is asked the same, and says the same."""
        for given in filter(str.strip, self.leaves):  # a prompt is not empty
            model = ScriptedProvider(text(*given))
            events = await self._events(given, model)
            must(not isinstance(events[-1], RunFailed), f"a run with {_shown(given)} in it fails: {events[-1]!r}")
            must(model.requests[0].messages[0].text == given, f"the model is asked what was asked: {_shown(given)}")
            said = "".join(event.text for event in events if isinstance(event, TextDelta))
            must(said == given, f"the model says {_shown(given)}, and what is shown is {_shown(said)}")

    # -- how the tests use it ------------------------------------------------------------------------------------------

    def _mask(self) -> Mask:
        mask: object = self.make_mask()
        must(isinstance(mask, Mask), f"{mask!r} has what a mask has: see becket.Mask")
        return mask  # type: ignore[return-value]  # looked at

    def _texts(self) -> list[str]:
        return [*self.hides, *self.leaves]

    def _hidden(self) -> Iterator[tuple[str, Sequence[str]]]:
        """What is said of secrets; a test that is of none ends here."""
        if not self.hides:
            not_looked_at("say in `hides` which texts have secrets, and which, so that it can be looked at")
        for given, secrets in self.hides.items():
            for secret in () if isinstance(secrets, str) else secrets:
                must(secret and secret in given, f"`hides` says that {secret!r} is in {given!r}, and it is not")
            must(secrets and not isinstance(secrets, str), f"`hides` has a list of secrets for {given!r}: {secrets!r}")
            yield given, secrets

    async def _events(self, prompt: str, model: ScriptedProvider) -> Sequence[Event]:
        runtime = Runtime(plugins=[_Plugin(self._mask())], discover=False)
        return (await whole_run(prompt, Agent(model, [repeat], retry=None, runtime=runtime))).events


class _Plugin:
    """Gives a mask that is there already."""

    def __init__(self, mask: Mask) -> None:
        self._mask = mask

    @hookimpl
    def register_masks(self) -> Sequence[Mask]:
        return [self._mask]


@tool(effect="none")
def repeat(said: str, ctx: ToolContext) -> str:
    """Say it again, and report it."""
    ctx.progress({"said": said})
    return said


def _masked(mask: Mask, given: str) -> str:
    with as_failures(f"masking {_shown(given)}"):
        shown: object = mask.mask(given)
    must(type(shown) is str, f"mask gives a str, and not {shown!r}")
    return shown  # type: ignore[return-value]  # looked at


def _fed(stream: MaskStream, piece: str) -> str:
    with as_failures(f"feeding {_shown(piece)}"):
        shown: object = stream.feed(piece)
    must(type(shown) is str, f"feed gives a str, and not {shown!r}")
    return shown  # type: ignore[return-value]  # looked at


def _ended(stream: MaskStream) -> str:
    with as_failures("ending a text"):
        shown: object = stream.end()
    must(type(shown) is str, f"end gives a str, and not {shown!r}")
    return shown  # type: ignore[return-value]  # looked at


def _streamed(mask: Mask, pieces: Iterable[str]) -> str:
    stream = mask.open()
    return "".join([_fed(stream, piece) for piece in pieces]) + _ended(stream)


def _kept(mask: Mask, pieces: Iterable[str]) -> int:
    """Bytes that a stream has come to keep, once it was fed."""
    tracing = tracemalloc.is_tracing()
    tracemalloc.start()
    try:
        stream = mask.open()
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        for piece in pieces:
            _fed(stream, piece)
        gc.collect()
        return tracemalloc.get_traced_memory()[0] - before
    finally:
        if not tracing:
            tracemalloc.stop()


def _width(given: str) -> int:
    """Bytes that a character takes at least, as CPython keeps text."""
    return 1 if ord(given[-1]) < 256 else 2  # noqa: PLR2004  Latin-1


def _places(given: str, most: int) -> range:
    return range(1, len(given), len(given) // most + 1)


def _pieces(given: str, size: int) -> Iterator[str]:
    return (given[at : at + size] for at in range(0, len(given), size))


def _cut(given: str, most: int) -> Iterator[list[str]]:
    """The text in two pieces, cut at each place, and in pieces of each size; an empty one among them."""
    yield [given, ""]
    yield from ([given[:at], "", given[at:]] for at in _places(given, most))
    yield from (list(_pieces(given, at)) for at in _places(given, most))


def _as_json(given: str) -> tuple[str, str]:
    """The arguments of a call, as models write them: characters escaped, and not."""
    return json.dumps({"said": given}), json.dumps({"said": given}, ensure_ascii=False)


def _is_object(given: str) -> bool:
    try:
        return isinstance(json.loads(given), dict)
    except ValueError:
        return False


def _said(given: str) -> list[Step]:
    pieces = list(_pieces(given, 3))
    return [*map(ReasoningDelta, pieces), *(TextDelta(piece, 1) for piece in pieces)]


def _calls(given: str) -> list[Step]:
    """An answer that says it, and calls a tool with it."""
    pieces = _pieces(json.dumps({"said": given}), 3)
    fragments = (ToolCallDelta("call-1", "repeat", piece, 2) for piece in pieces)
    return [*_said(given), *fragments, ModelFinished("tool_use")]


def _strings(value: Any) -> Iterator[str]:
    """Every text in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)


def _streams(events: Iterable[Event]) -> Iterator[str]:
    """What a reader puts together of deltas."""
    blocks: dict[tuple[int, int], str] = {}
    for event in events:
        if isinstance(event, TextDelta | ReasoningDelta | ToolCallDelta):
            said = event.fragment if isinstance(event, ToolCallDelta) else event.text
            key = (event.cycle, event.block)
            blocks[key] = blocks.get(key, "") + said
    yield from blocks.values()


def _shown(given: object) -> str:
    said = repr(given)
    return said if len(said) < 200 else f"{said[:200]}..."  # noqa: PLR2004  what still can be read
