"""Finding secrets in text, whole or as it comes.

At each place the rules are tried in their order, and the first that matches counts; the search goes on behind the
match. In text that still comes, a place is decided once no rule has looked beyond the end of what is there: what
`regex` calls a partial match, and has to be asked for with a pattern that cannot match, since it gives a match where
there is one, even if more text would make it longer. Up to a place that is not decided the text may be shown; from
there it is held back.
"""

from __future__ import annotations

import functools
import re
from bisect import bisect_left
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from becket import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from becket_guard._patterns import Known

__all__ = ["MOST", "SECONDS", "SHORTEST", "Custom", "Scanner", "Stream", "compiled", "never"]

MOST: Final = 16_384
"""Characters that may be held back. The longest private keys in use have some 13,000: RSA with 16,384 bits."""

SECONDS: Final = 0.25
"""How long a configured pattern may take with one text; the event loop waits meanwhile."""

_BEFORE: Final = 40
"""Characters before a place that known patterns look at, such as the name of a header."""

_BEFORE_CUSTOM: Final = 64
"""The same for configured patterns, which may look behind."""

SHORTEST: Final = 8
"""Characters of the shortest secret: anything shorter stands in ordinary text as well, and would be masked there."""

_SHORT: Final = 50
"""Characters up to which one expression for all beginnings is quicker than a search for each of them."""

_LONG: Final = 256
_PATIENCE: Final = 16
"""Beyond `_LONG`, a 16th of what is held back must come before it is looked at again, all of it. What comes letter by
letter would be looked at with each of them: a private key 3,000 times."""

_ALONE: Final = r"(?:(?<![A-Za-z0-9])|(?<=\\[nrt]))"


class Custom(NamedTuple):
    """A configured pattern."""

    name: str
    whole: Any
    begun: Any


class _Found(NamedTuple):
    """A secret in a text, or what may become one.

    Attributes:
        start: Where it begins.
        end: Where it ends; None where that is not decided yet.
        masked: From where to where it is masked; a rule may leave what stands around it.
        shown: What stands for it.
    """

    start: int
    end: int | None
    masked: tuple[int, int]
    shown: str

    def moved(self, by: int) -> _Found:
        """The same in a text with `by` characters before this one."""
        start, stop = self.masked
        return _Found(self.start + by, None if self.end is None else self.end + by, (start + by, stop + by), self.shown)


class _Known:
    """A known pattern, compiled once there is a text that begins like it."""

    def __init__(self, known: Known, shown: str) -> None:
        self.starts = known.starts
        self.alone = known.alone
        self.shown = shown
        starts = "|".join(map(re.escape, known.starts))
        self._expression = f"(?:{starts}){known.rest}"

    @functools.cached_property
    def whole(self) -> Any:
        return compiled(self._expression)

    @functools.cached_property
    def begun(self) -> Any:
        return compiled(never(self._expression))


def compiled(expression: str) -> Any:
    """The expression, compiled by `regex`, which takes 50 ms to import and is imported for this.

    Raises:
        regex.error: It is none.
    """
    import regex  # type: ignore[import-untyped]  # it has no types

    return regex.compile(expression, regex.VERSION0)


def never(expression: str) -> str:
    """What begins as the expression does and never matches: all that can come of it is a partial match."""
    return f"(?:{expression})(?!)"


class Scanner:
    """The rules of a guard.

    Args:
        values: Secrets that are known by their value, and what stands for each.
        known: Patterns of which it is known how they begin, and what stands for each.
        custom: Patterns of which it is not, and what stands for each.
    """

    def __init__(
        self,
        values: Mapping[str, str],
        known: Iterable[tuple[Known, str]] = (),
        custom: Sequence[tuple[Custom, str]] = (),
    ) -> None:
        self._values: dict[str, list[tuple[str, str]]] = {}
        for value in sorted(values, key=len, reverse=True):
            self._values.setdefault(value[0], []).append((value, values[value]))
        self._known: dict[str, list[tuple[str, _Known]]] = {}
        for pattern, shown in known:
            rule = _Known(pattern, shown)
            for start in pattern.starts:
                self._known.setdefault(start[0], []).append((start, rule))
        self._custom = custom
        self._starts = (*values, *dict.fromkeys(start for pairs in self._known.values() for start, _ in pairs))
        self._longest = max(map(len, self._starts), default=0)
        self.plain = not custom
        self.before = _BEFORE_CUSTOM if custom else _BEFORE

    @functools.cached_property
    def suspicious(self) -> Any:
        """Finds where a rule whose beginning is known may match, or may once more text has come."""
        alone = {start for pairs in self._known.values() for start, rule in pairs if rule.alone}
        free = set(self._starts) - alone
        parts = [f"{_ALONE}{_any_of(alone)}"] if alone else []
        return re.compile("|".join([*parts, *([_any_of(free)] if free else [])]) or "(?!)")

    def mask(self, text: str, /) -> str:
        """`text` without its secrets."""
        return Stream(self).finish(text)

    def suspects(self, text: str, at: int, *, over: bool) -> list[int]:
        """Where in `text` from `at` on a rule whose beginning is known may match, in order.

        What may be the beginning of a beginning, and no more, stands at the end.
        """
        if not over and len(text) - at < _SHORT:
            return [found.start() for found in self.suspicious.finditer(text, at)]
        places: set[int] = set()
        for start in self._starts:
            place = text.find(start, at)
            while place >= 0:
                places.add(place)
                place = text.find(start, place + 1)
        if over:
            places.update(self._cut_off(text, at))
        else:
            places.update(found.start() for found in self.suspicious.finditer(text, max(at, len(text) - self._longest)))
        return sorted(places)

    def _cut_off(self, text: str, at: int) -> Iterator[int]:
        """Where the end of `text` may be the beginning of a secret, as where a tool's output was cut to its limit."""
        for values in self._values.values():
            for value, _ in values:
                begins = value[: _tell_tale(value)]
                place = text.find(begins, max(at, len(text) - len(value) + 1))
                while place >= 0:
                    yield place
                    place = text.find(begins, place + 1)

    def next(self, text: str, at: int, floor: int, suspects: list[int], *, over: bool) -> _Found | None:
        """The first secret, or what may become one, at `at` or behind it.

        Args:
            text: The text, with what comes before `at` as far as rules look behind.
            at: From where.
            floor: Before it nothing is looked at: it is masked.
            suspects: What `suspects` has found in it.
            over: Whether no more text will come.
        """
        if at == floor and (found := self._at(text, at, floor, over=over)) is not None:
            return found  # it is behind a secret, and stands alone whatever that ended with
        custom = self._next_custom(text, at, floor, over=over) if self._custom else None
        most = len(text) if custom is None else custom.start
        for place in range(bisect_left(suspects, at), len(suspects)):  # no slice: it would be copied for each match
            if suspects[place] > most:
                break
            if (found := self._at(text, suspects[place], floor, over=over)) is not None:
                return found
        return custom

    def _at(self, text: str, at: int, floor: int, *, over: bool) -> _Found | None:
        """The secret, or what may become one, that begins at `at`."""
        return self._value_at(text, at, over=over) or self._known_at(text, at, floor, over=over)

    def _value_at(self, text: str, at: int, *, over: bool) -> _Found | None:
        for value, shown in self._values.get(text[at : at + 1], ()):
            if text.startswith(value, at):
                return _Found(at, at + len(value), (at, at + len(value)), shown)
            if _begins(value, text, at):
                if not over:
                    return _Found(at, None, (at, at), shown)
                if len(text) - at >= _tell_tale(value):
                    return _Found(at, len(text), (at, len(text)), shown)
        return None

    def _known_at(self, text: str, at: int, floor: int, *, over: bool) -> _Found | None:
        for start, rule in self._known.get(text[at : at + 1], ()):
            if rule.alone and not _is_alone(text, at, floor):
                continue
            if text.startswith(start, at):
                found = _matched(rule, text, at, over=over)
                if found is not None:
                    return found
            elif not over and _begins(start, text, at):
                return _Found(at, None, (at, at), rule.shown)
        return None

    def _next_custom(self, text: str, at: int, floor: int, *, over: bool) -> _Found | None:
        """The first match, or beginning of one, of a configured pattern."""
        first: _Found | None = None
        seen = text[floor:]  # what they look behind at
        for rule, shown in self._custom:
            found = _searched(rule, seen, at - floor, shown, over=over)
            if found is not None and (first is None or found.start < first.start):
                first = found
        return first and first.moved(floor)


class Stream:
    """Masks a text that comes in fragments."""

    __slots__ = ("_again", "_at", "_over", "_scanner", "_search", "_seen")

    def __init__(self, scanner: Scanner) -> None:
        self._scanner = scanner
        self._search = scanner.suspicious.search if scanner.plain else None
        self._seen = ""  # what is held back, and before it what rules look at
        self._at = 0  # where what is held back begins
        self._again = 0  # the length of the two at which they are looked at again
        self._over = False  # more was held back than may be: all that follows is masked

    def feed(self, fragment: str, /) -> str:
        """What may be shown now."""
        text, at = self._seen + fragment, self._at
        if self._search is not None and self._search(text, at) is None and not self._over:
            self._seen = seen = text[-_BEFORE:]
            self._at = len(seen)
            return text[at:] if at else text
        if len(text) < self._again:
            self._seen = text
            return ""
        shown = self._scan(text, over=False)
        held = len(self._seen) - self._at
        self._again = len(self._seen) + held // _PATIENCE if held > _LONG else 0
        return shown

    def end(self) -> str:
        """What was held back, masked."""
        return self.finish("")

    def finish(self, fragment: str) -> str:
        """What may be shown of the rest, which `fragment` ends."""
        return self._scan(self._seen + fragment, over=True)

    def _scan(self, text: str, *, over: bool) -> str:
        """What may be shown of `text`; the rest is kept."""
        at, floor, shown = self._at, 0, list[str]()
        if self._over:
            return ""
        suspects = self._scanner.suspects(text, at, over=over)
        keep = len(text)
        while (found := self._scanner.next(text, at, floor, suspects, over=over)) is not None:
            end = len(text) if found.end is None else found.end
            if end - found.start > MOST:
                self._over = True
                self._seen = ""
                return "".join((*shown, text[at : found.start], found.shown))
            if found.end is None:
                keep = found.start
                break
            start, stop = found.masked
            shown += (text[at:start], found.shown, text[stop:end])
            at = floor = end
        shown.append(text[at:keep])
        seen = max(floor, keep - self._scanner.before)
        self._seen, self._at = text[seen:], keep - seen
        return "".join(shown)


def _searched(rule: Custom, text: str, at: int, shown: str, *, over: bool) -> _Found | None:
    """The first match of a configured pattern, or where one may begin.

    Raises:
        ConfigError: It takes too long.
    """
    try:
        match = rule.whole.search(text, at, partial=not over, timeout=SECONDS)
        if match is None:
            return None
        begun = None if over else rule.begun.search(text, at, partial=True, timeout=SECONDS)
    except TimeoutError:
        raise ConfigError(
            f"the pattern {rule.name!r} took longer than {SECONDS:g} s with one text; write it so that no text can be "
            f"matched in two ways, as (a+)+ can"
        ) from None
    if begun is not None and (match.partial or begun.start() <= match.start()):
        return _Found(begun.start(), None, (at, at), shown)
    return None if match.partial or match.end() == match.start() else _of(match, text, shown, over=over)


def _matched(rule: _Known, text: str, at: int, *, over: bool) -> _Found | None:
    """The match at a place; one whose end is not known while it may become longer, or be one at all."""
    if not over and rule.begun.match(text, at, partial=True) is not None:
        return _Found(at, None, (at, at), rule.shown)
    match = rule.whole.match(text, at)
    return None if match is None else _of(match, text, rule.shown, over=over)


def _of(match: Any, text: str, shown: str, *, over: bool) -> _Found:
    start, end = match.span()
    masked = match.span("secret") if "secret" in match.re.groupindex else (start, end)
    return _Found(start, end if over or end < len(text) else None, masked, shown)


def _begins(whole: str, text: str, at: int) -> bool:
    """Whether all that is left of `text` is the beginning of `whole`."""
    return len(text) - at < len(whole) and whole.startswith(text[at:])


def _tell_tale(value: str) -> int:
    """Characters of a secret's beginning that are as bad as the secret, where the text ends with them."""
    return max(SHORTEST, len(value) // 2)


def _is_alone(text: str, at: int, floor: int) -> bool:
    """What `_ALONE` asks, of a text that begins at `floor`."""
    if at == floor or text[max(floor, at - 2) : at] in ("\\n", "\\r", "\\t"):
        return True
    return not (text[at - 1].isascii() and text[at - 1].isalnum())


def _any_of(texts: Iterable[str]) -> str:
    """An expression for these texts, and for the beginning of each at the end of what is there."""
    tree: dict[str, Any] = {}
    for text in texts:
        node = tree
        for letter in text:
            node = node.setdefault(letter, {})
        node[""] = {}
    return _branches(tree, at_end=False)


def _branches(tree: dict[str, Any], *, at_end: bool = True) -> str:
    if "" in tree:
        return ""  # the shortest is enough: what is found is looked at more closely
    branches = [re.escape(letter) + _branches(node) for letter, node in tree.items()]
    return f"(?:{'|'.join([*branches, *([chr(92) + 'Z'] if at_end else [])])})"
