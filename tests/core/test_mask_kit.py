"""The tests of the contract of masks find every way to break it, and say what is wrong."""

from __future__ import annotations

import html
import threading
import tracemalloc
import unittest
from typing import TYPE_CHECKING, Any

import pytest
from becket.testing import MaskConformance
from becket.testing._contract import rules_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from becket import Mask

pytestmark = pytest.mark.anyio

OPENING, CLOSING = "<<", ">>"


class Good:
    """A mask without a fault: what stands between << and >>."""

    name = "good"
    shown = "[hidden]"
    most = 64

    def mask(self, text: str, /) -> str:
        stream = Pieces(self)
        return stream.feed(text) + stream.end()

    def open(self) -> Any:
        return Pieces(self)


class Pieces:
    """Decides at each letter: what is held back is the beginning of a secret, up to a bound."""

    def __init__(self, mask: Good) -> None:
        self.shown = mask.shown
        self.most = mask.most
        self.held = ""

    def feed(self, fragment: str, /) -> str:
        return "".join(map(self.letter, fragment))

    def letter(self, letter: str) -> str:
        held = self.held + letter
        if not held.startswith(OPENING):
            held = held if OPENING.startswith(held) else ""
            given, self.held = self.held + letter if not held else "", held
            return given
        if held.endswith(CLOSING) and len(held) > len(OPENING):
            self.held = ""
            return self.shown
        self.held = held if len(held) < self.most else held[: self.most] + held[-1]
        return ""

    def end(self) -> str:
        held, self.held = self.held, ""
        return self.shown if len(held) > self.most else held


class Pairs(MaskConformance):
    """What these masks hide."""

    hides: Mapping[str, Sequence[str]] = {
        "It is <<secret>>, and <<another>>.": ["secret", "another"],
        "<<x>>": ["<<x>>"],
    }
    leaves: Sequence[str] = (
        "Good morning.",
        "1 < 2, and << is open",
        "",
        "a\r\n\u2028b > c",
        '{"a": ["\\"b\\"", null]}',
    )
    holds = 64


class TestGood(Pairs):
    def make_mask(self) -> Mask:
        return Good()


# -- masks that break the contract -------------------------------------------------------------------------------------


class Kit(Pairs):
    """The tests of the contract, to be called one by one."""

    __test__ = False

    def __init__(self, cls: Any = Good, stream: Any = None, **changes: Any) -> None:
        members = {"open": lambda mask: stream(mask)} if stream else {}  # noqa: PLW0108  a class is no method
        self.made = type(cls.__name__, (cls,), {**members, **changes})

    def make_mask(self) -> Any:
        return self.made()


def saying(**said: Any) -> Kit:
    """A good mask, of which its tests say something else."""
    kit = Kit()
    for name, value in said.items():
        setattr(kit, name, value)
    return kit


class Str(str):
    __slots__ = ()


class GivesItsOwnText(Good):
    def mask(self, text: str, /) -> str:
        return Str(super().mask(text))


class GivesNothing(Good):
    def mask(self, text: str, /) -> Any: ...


class HidesTheFirst(Good):
    def mask(self, text: str, /) -> str:
        before, _, rest = text.partition(OPENING)
        _, _, after = rest.partition(CLOSING)
        return before + self.shown + after


class Trims(Good):
    def mask(self, text: str, /) -> str:
        return super().mask(text).rstrip("\n").replace("\r\n", "\n")


class Escapes(Good):
    def mask(self, text: str, /) -> str:
        return html.escape(super().mask(text))


class Counts(Good):
    number = 0

    def mask(self, text: str, /) -> str:
        self.number += 1
        return super().mask(text).replace(self.shown, f"[hidden {self.number}]")


class HidesNothingInJson(Good):
    def mask(self, text: str, /) -> str:
        return text if text.startswith("{") else super().mask(text)


class BreaksJson(Good):
    def mask(self, text: str, /) -> str:
        return super().mask(text) if OPENING not in text or text[0] != "{" else self.shown


class MasksPieces(Pieces):
    """Looks at each piece by itself."""

    def __init__(self, mask: Good) -> None:
        self.mask = mask

    def feed(self, fragment: str, /) -> str:
        return self.mask.mask(fragment)

    def end(self) -> str:
        return ""


class ShowsTwice(Pieces):
    def feed(self, fragment: str, /) -> str:
        return super().feed(fragment) + (self.held if self.held == "<" else "")


class ForgetsTheEnd(Pieces):
    def end(self) -> str:
        return ""


class GivesNoEnd(Pieces):
    def end(self) -> Any: ...


class FeedsNothing(Pieces):
    def feed(self, fragment: str, /) -> Any:
        return super().feed(fragment) or None


class WantsText(Pieces):
    def feed(self, fragment: str, /) -> str:
        return fragment[0] and super().feed(fragment)


class WaitsForTheEnd(Pieces):
    def __init__(self, mask: Good) -> None:
        self.mask = mask
        self.held = ""

    def feed(self, fragment: str, /) -> str:
        self.held += fragment
        return ""

    def end(self) -> str:
        return self.mask.mask(self.held)


class HoldsAll(Pieces):
    """Keeps a secret as long as it is."""

    def __init__(self, mask: Good) -> None:
        super().__init__(mask)
        self.kept: list[str] = []

    def feed(self, fragment: str, /) -> str:
        self.kept.append(fragment[:-1] + fragment[-1:])
        return super().feed(fragment)


class OneStream(Good):
    kept: Any = None

    def open(self) -> Any:
        self.kept = self.kept or Pieces(self)
        return self.kept


class Blocks(Good):
    def mask(self, text: str, /) -> str:
        if len(text) > 30_000:
            threading.Event().wait(0.3)
        return super().mask(text)


class FailsAtArguments(Pieces):
    def feed(self, fragment: str, /) -> str:
        if fragment == '{"s':
            raise KeyError(fragment)
        return super().feed(fragment)


class FailsAtOneLetter(Pieces):
    def feed(self, fragment: str, /) -> str:
        if fragment == "G":
            raise KeyError(fragment)
        return super().feed(fragment)


FAULTS: list[tuple[Kit, str, str]] = [
    (Kit(object), "test_it_is_named", "has what a mask has: see becket.Mask"),
    (Kit(name="a:b"), "test_it_is_named", "the name 'a:b' has letters"),
    (Kit(GivesItsOwnText), "test_its_secrets_are_masked", "mask gives a str, and not 'It is"),
    (Kit(GivesNothing), "test_its_secrets_are_masked", "mask gives a str, and not None"),
    (
        Kit(HidesTheFirst),
        "test_its_secrets_are_masked",
        "the secret 'another' is in what is shown: 'It is .hidden., and",
    ),
    (saying(hides={"<<x>>": ["y"]}), "test_its_secrets_are_masked", "`hides` says that 'y' is in '<<x>>', and it is"),
    (saying(hides={"<<x>>": [""]}), "test_its_secrets_are_masked", "`hides` says that '' is in"),
    (saying(hides={"<<x>>": "x"}), "test_its_secrets_are_masked", "`hides` has a list of secrets for '<<x>>': 'x'"),
    (saying(hides={"<<x>>": []}), "test_its_secrets_are_masked", "`hides` has a list of secrets"),
    (Kit(Trims), "test_what_is_no_secret_is_left_as_it_is", r"there is no secret in 'a\\r\\n"),
    (Kit(Escapes), "test_what_is_no_secret_is_left_as_it_is", "'1 < 2, and << is open', and it has become '1 &lt; 2"),
    (Kit(shown="<<", most=10), "test_masked_once_more_it_is_the_same", "becomes 'It is <<, and <<.', and that, masked"),
    (Kit(Counts), "test_masked_once_more_it_is_the_same", "becomes 'It is .hidden 1.*, and then something else"),
    (Kit(shown="'hidden'"), "test_arguments_stay_json", """what stands for its secret has "'" in it"""),
    (Kit(shown="[hid\nden]"), "test_arguments_stay_json", r"has '\\n' in it: leave that out"),
    (Kit(HidesNothingInJson), "test_arguments_stay_json", "the secret 'secret' is in what is shown of '{"),
    (Kit(BreaksJson), "test_arguments_stay_json", "was a JSON object, and is none any more: '.hidden.'"),
    (Kit(stream=MasksPieces), "test_cut_anywhere_it_is_masked_alike", r"as \['It is <', '', '<sec"),
    (Kit(stream=WantsText), "test_cut_anywhere_it_is_masked_alike", "feeding '', it raised IndexError"),
    (Kit(stream=FeedsNothing), "test_cut_anywhere_it_is_masked_alike", "feed gives a str, and not None"),
    (
        Kit(stream=ForgetsTheEnd),
        "test_a_text_may_end_anywhere",
        "'It is <', which ends there, becomes 'It is <' whole, and 'It is ' l",
    ),
    (Kit(stream=ShowsTwice), "test_a_text_may_end_anywhere", "letter by letter: let end give"),
    (Kit(stream=GivesNoEnd), "test_a_text_may_end_anywhere", "end gives a str, and not None"),
    (Kit(stream=WaitsForTheEnd), "test_text_is_shown_while_it_comes", "characters have come, and 0 are shown: hold"),
    (Kit(stream=HoldsAll), "test_what_is_held_back_has_a_bound", "came 200,000 times more, the stream keeps"),
    (Kit(OneStream), "test_texts_are_kept_apart", "one of 14 texts at once, becomes"),
    (Kit(Blocks), "test_it_is_quick", r"test_mask_kit.py:\d+ in mask: .*wait.0.3"),
    (Kit(stream=FailsAtArguments), "test_a_run_shows_nothing_of_it", "a run with 'It is <<.* in it fails: RunFailed"),
    (
        Kit(stream=MasksPieces),
        "test_a_run_shows_nothing_of_it",
        r"the secret 'secret' is seen in a run: \['It is <<sec",
    ),
    (Kit(stream=FailsAtOneLetter), "test_a_run_is_as_without_it", "a run with 'Good morning.' in it fails: RunFailed"),
    (Kit(Trims), "test_a_run_is_as_without_it", r"the model is asked what was asked: 'a\\r\\n"),
    (Kit(stream=ForgetsTheEnd), "test_a_run_is_as_without_it", "the model says '1 < 2, and << is open', and what is"),
]


async def held(kit: Any, rule: str) -> None:
    """Make a test, as pytest does."""
    made = getattr(kit, rule)()
    if made is not None:
        await made


@pytest.mark.parametrize(("kit", "rule", "said"), FAULTS)
async def test_a_mask_that_breaks_the_contract_is_found(kit: Kit, rule: str, said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        await held(kit, rule)


def test_every_test_of_the_contract_finds_a_fault() -> None:
    assert {rule for _, rule, _ in FAULTS} == set(rules_of(MaskConformance))


async def test_what_was_not_said_is_not_looked_at() -> None:
    with pytest.raises(unittest.SkipTest, match="say in `hides` which texts have secrets"):
        await held(saying(hides={}), "test_a_run_shows_nothing_of_it")


def test_texts_that_become_secrets_again_and_again_are_not_looked_at() -> None:
    saying(leaves=["< and <", "a>><<b"]).test_text_is_shown_while_it_comes()


def test_memory_that_is_traced_already_stays_traced() -> None:
    tracemalloc.start()
    Kit().test_what_is_held_back_has_a_bound()
    assert tracemalloc.is_tracing()
    tracemalloc.stop()


def test_a_class_that_does_not_say_what_is_tested_fails() -> None:
    with pytest.raises(NotImplementedError, match="define make_mask"):
        MaskConformance().make_mask()
