"""What people and models write for arithmetic, read into the notation of Python.

The text is read once, from left to right, by tokens that are all known beforehand; whatever else stands in it is
refused. What comes out holds numbers, the operators + - * / // % **, parentheses, commas between arguments, and names
from the calculator's own tables: no strings, attributes, brackets, keywords or comparisons.
"""

from __future__ import annotations

import re
from typing import NoReturn

from becket import ToolError

from becket_tools._arithmetic import CONSTANTS, FUNCTIONS, MAX_DIGITS

__all__ = ["MAX_LENGTH", "to_python"]

MAX_LENGTH = 2000  # characters; a sum of 300 amounts fits
_MAX_DEPTH = 50  # parentheses within parentheses
_MAX_CHAINED = 100  # signs and powers; both nest to the right, and Python's parser and the evaluator recurse into each

_EXPONENT = r"(?:e[+-]?[0-9]+(?![\w.]))?"
_NUMBER = re.compile(rf"(?:[0-9]+(?:_[0-9]+)*(?:\.[0-9]*)?|\.[0-9]+){_EXPONENT}", re.IGNORECASE)
_GROUPED = re.compile(rf"[1-9][0-9]{{0,2}}(?:,[0-9]{{3}})+(?![0-9,])(?:\.[0-9]*)?{_EXPONENT}", re.IGNORECASE)
_OTHER_BASE = re.compile(r"0[xob][0-9a-f]", re.IGNORECASE)
_NAME = re.compile(r"[a-z_][a-z_0-9]*", re.IGNORECASE)
_SPACE = re.compile(r"\s*")
_ROOT_OF = re.compile(r"(?:the\s+)?square\s+root\s+of\b", re.IGNORECASE)
_PERCENT_OF = re.compile(r"(?:%|per\s?cent\b)\s*of\b", re.IGNORECASE)
_PERCENT = re.compile(r"%\s*(?:[-+*/^),]|\Z)|per\s?cent\b", re.IGNORECASE)
_OPERATOR = re.compile(
    r"\*\*|//|[-+*/%^]|plus\b|minus\b|times\b|divided\s+by\b|multiplied\s+by\b|to\s+the\s+power\s+of\b|mod\b"
    r"|x(?![a-z_])(?=\s*[0-9.(a-z])",  # "3 x 4", but not the x of "2 x + 1", which is an unknown
    re.IGNORECASE,
)
_MEANINGS = {
    "^": "**",  # Python's own meaning, exclusive or, is hardly ever what somebody asks a calculator for
    "x": "*",
    "plus": "+",
    "minus": "-",
    "times": "*",
    "multiplied by": "*",
    "divided by": "/",
    "to the power of": "**",
    "mod": "%",
}
_AFTER = {"squared": ("**", "2"), "cubed": ("**", "3")}
_SIGNS = str.maketrans(
    {
        "\N{MULTIPLICATION SIGN}": "*",
        "\N{MIDDLE DOT}": "*",
        "\N{DOT OPERATOR}": "*",
        "\N{DIVISION SIGN}": "/",
        "\N{DIVISION SLASH}": "/",
        "\N{MINUS SIGN}": "-",
        "\N{EN DASH}": "-",
        "\N{GREEK SMALL LETTER PI}": " pi ",
        "\N{GREEK SMALL LETTER TAU}": " tau ",
        "\N{SQUARE ROOT}": " sqrt ",
        "\N{SUPERSCRIPT TWO}": " squared ",
        "\N{SUPERSCRIPT THREE}": " cubed ",
    }
)
_ASKING = re.compile(
    r"(?:please\b|what\s+is\b|what.s\b|how\s+much\s+is\b|calculate\b|compute\b|evaluate\b|=|:|\s)+", re.IGNORECASE
)


def to_python(text: str) -> str:
    """The expression that `text` means, as a Python expression with spaces between its tokens.

    Raises:
        ToolError: It is too long or nested too deeply, or it is no arithmetic that can only be meant one way.
    """
    if len(text) > MAX_LENGTH:
        raise ToolError(
            f"the expression has {len(text)} characters, and {MAX_LENGTH} is the most; calculate it in several steps"
        )
    reader = _Reader(_without_question(text.translate(_SIGNS)))
    return " ".join(reader.read())


def _without_question(text: str) -> str:
    """`text` without what stands around an expression: "what is", quotation marks, "=" and "?" at either end."""
    bare = text.strip().strip("`\"'")
    asked = _ASKING.match(bare)
    return bare[asked.end() if asked else 0 :].rstrip("?=. \t\r\n")


class _Reader:
    """Reads one expression; `at` is where it stands, `tokens` what it has read."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.tokens: list[str] = []
        self.after_value = False  # whether a value has just ended, so that an operator may follow
        self.open: list[bool] = []  # for each open parenthesis, whether it holds a function's arguments
        self.chained = 0

    def read(self) -> list[str]:
        """The tokens of the whole text."""
        steps = (self.root_of, self.percent, self.operator, self.number, self.parenthesis, self.comma, self.name)
        self.skip()
        while self.at < len(self.text):
            if not any(step() for step in steps):
                self.refuse(f"{self.text[self.at]!r} is nothing that a calculator knows; write numbers, + - * / ** ( )")
            self.skip()
        self.finish()
        return self.tokens

    def finish(self) -> None:
        """Refuse an end where something is still missing."""
        if not self.tokens:
            raise ToolError("there is nothing to calculate; give an expression such as (3 + 4) * 2")
        if not self.after_value:
            self.refuse("the expression breaks off at its end; write what comes after the last operator")
        if self.open:
            self.refuse(f"{len(self.open)} parentheses are not closed; write as many ')' as '('")

    def skip(self) -> None:
        """Go to the next character that is no space."""
        self.take(_SPACE)

    def take(self, pattern: re.Pattern[str]) -> str | None:
        """What `pattern` matches here, and go past it."""
        match = pattern.match(self.text, self.at)
        if match is None:
            return None
        self.at = match.end()
        return match[0]

    def refuse(self, problem: str) -> NoReturn:
        """Raise a `ToolError` that shows where the reader stands."""
        around = self.text[max(self.at - 20, 0) : self.at + 20]
        raise ToolError(f"{problem} (near {around!r})")

    def value(self, *tokens: str) -> bool:
        """Add a value; two beside each other are refused, since "2 3" and "2(3)" may be slips of many kinds."""
        if self.after_value:
            self.refuse("an operator is missing between two values; write 2 * (3), not 2(3)")
        self.tokens += tokens
        self.after_value = True
        return True

    def chain(self) -> None:
        """Count what nests to the right."""
        self.chained += 1
        if self.chained > _MAX_CHAINED:
            self.refuse(f"more than {_MAX_CHAINED} signs and powers are too many; calculate it in several steps")

    def root_of(self) -> bool:
        """Read "square root of 9", where nothing follows that the root may or may not include."""
        if self.take(_ROOT_OF) is None:
            return False
        self.skip()
        number = self.take(_GROUPED) or self.take(_NUMBER)
        if number is None or self.text[self.at :].strip(" )"):
            self.refuse("it is not clear how far the square root reaches; write sqrt(...)")
        return self.value("sqrt", "(", self.checked(number), ")")

    def percent(self) -> bool:
        """Read the sign of "20% of 50"; refuse a percentage of nothing, which cannot be told from a remainder."""
        if not self.after_value:
            return False
        if self.take(_PERCENT_OF):
            number = self.tokens.pop()
            alone = not self.tokens or self.tokens[-1] in ("+", "-", "(", ",")
            if not alone or not number[-1:].isdigit():
                self.refuse("write the percentage in parentheses, as in 8 / (20 / 100 * 50)")
            self.tokens += ["(", number, "/", "100", ")", "*"]
            self.after_value = False
            return True
        if _PERCENT.match(self.text, self.at):
            self.refuse("a percentage of what? write 20% of 50, or 20 / 100; for a remainder write 7 % (-3)")
        return False

    def operator(self) -> bool:
        """Read an operator, a sign, or a power in words."""
        name = _NAME.match(self.text, self.at)
        if name and self.after_value and name[0].lower() in _AFTER:
            self.at = name.end()
            self.chain()
            self.tokens += _AFTER[name[0].lower()]
            return True
        start = self.at
        found = self.take(_OPERATOR)
        if found is None:
            return False
        symbol = " ".join(found.lower().split())
        symbol = _MEANINGS.get(symbol, symbol)
        if not self.after_value and symbol not in ("+", "-"):
            self.at = start
            self.refuse(f"{symbol!r} has no number before it")
        if symbol == "**" or not self.after_value:
            self.chain()
        self.tokens.append(symbol)
        self.after_value = False
        return True

    def number(self) -> bool:
        """Read a number; a comma groups thousands in it where it cannot separate arguments."""
        if _OTHER_BASE.match(self.text, self.at):
            self.refuse("numbers are read in base 10 only; write 16 instead of 0x10")
        in_call = bool(self.open) and self.open[-1]
        found = (None if in_call else self.take(_GROUPED)) or self.take(_NUMBER)
        if found is None:
            return False
        if in_call and self.tokens[-1] == "," and len(found) > 1 and found.isdigit() and found[0] == "0":
            self.refuse("a comma separates arguments between the parentheses of a function; write 1000, not 1,000")
        return self.value(self.checked(found))

    def checked(self, number: str) -> str:
        """A number as Python writes it."""
        plain = number.replace(",", "").replace("_", "")
        if plain.isdigit():
            digits = plain.lstrip("0") or "0"
            if len(digits) > MAX_DIGITS:
                raise ToolError(f"a number has {len(digits)} digits, and {MAX_DIGITS} is the most; use a smaller one")
            return digits
        if float(plain) == float("inf"):
            raise ToolError(
                f"{plain[:40]} is above 1.8e308, the biggest number with a point or exponent; use a smaller one"
            )
        return plain

    def parenthesis(self) -> bool:
        """Read "(" or ")"."""
        character = self.text[self.at]
        if character == "(":
            self.enter(call=False)
        elif character == ")":
            self.leave()
        else:
            return False
        self.at += 1
        return True

    def enter(self, *, call: bool) -> None:
        """Open a parenthesis."""
        if self.after_value:
            self.refuse("an operator is missing before '('; write 2 * (3), not 2(3)")
        if len(self.open) == _MAX_DEPTH:
            self.refuse(f"more than {_MAX_DEPTH} parentheses in each other are too many; calculate it in several steps")
        self.open.append(call)
        self.tokens.append("(")

    def leave(self) -> None:
        """Close a parenthesis."""
        if not self.open:
            self.refuse("a ')' has no '(' before it")
        if not self.after_value:
            self.refuse("something is missing before ')'")
        self.open.pop()
        self.tokens.append(")")

    def comma(self) -> bool:
        """Read the comma between two arguments."""
        if self.text[self.at] != ",":
            return False
        if not (self.open and self.open[-1]):
            self.refuse(
                "this comma neither groups thousands nor separates arguments; write 3.5 for a decimal, 1,000 or 1000"
            )
        if not self.after_value:
            self.refuse("an argument is missing before ','")
        self.at += 1
        self.tokens.append(",")
        self.after_value = False
        return True

    def name(self) -> bool:
        """Read a constant, or a function and its "("."""
        start = self.at
        found = self.take(_NAME)
        if found is None:
            return False
        name = found.lower()
        if name in CONSTANTS:
            return self.value(name)
        if name not in FUNCTIONS:
            self.at = start
            self.refuse(_unknown(found))
        self.skip()
        if self.text[self.at : self.at + 1] != "(":
            self.refuse(f"{name} needs parentheses: write {name}(...), it takes {FUNCTIONS[name].takes}")
        if self.after_value:
            self.refuse(f"an operator is missing before {name}")
        self.tokens.append(name)
        self.enter(call=True)
        self.at += 1
        return True


def _unknown(name: str) -> str:
    """A sentence about a name that the calculator does not know."""
    import difflib

    near = difflib.get_close_matches(name.lower()[:40], [*FUNCTIONS, *CONSTANTS], n=3)
    known = f"did you mean {' or '.join(near)}?" if near else f"it knows {', '.join([*CONSTANTS, *FUNCTIONS])}"
    return f"{name[:40]!r} is unknown to the calculator; {known}"
