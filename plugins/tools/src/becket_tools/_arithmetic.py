"""Operations and functions of the calculator, each bounded in time and in the size of what it gives.

A number is an `int` of at most `MAX_DIGITS` digits or a finite `float`. Everything here takes numbers and gives one, so
no step of a calculation costs more than a multiplication of two such integers, and what a calculation costs is decided
by how many steps it has.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from becket import ToolError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CONSTANTS", "FUNCTIONS", "MAX_DIGITS", "Function", "Number", "bounded", "divide", "multiply", "power"]

Number: TypeAlias = int | float

MAX_DIGITS = 600  # Python lets a host limit the conversion of integers to text, but never below 640 digits
_LIMIT = 10**MAX_DIGITS
_MAX_BITS = _LIMIT.bit_length()
_EXACT = 2.0**53  # above it a float does not tell neighbouring integers apart
_MAX_PLACES = 400  # round(5, -10**9) would compute 10**10**9; floats end at 1.8e308 and start at 5e-324

CONSTANTS: dict[str, float] = {"pi": math.pi, "e": math.e, "tau": math.tau}


@dataclass(frozen=True, slots=True)
class Function:
    """A function of the calculator.

    Attributes:
        call: Computes it; raises ValueError outside its domain.
        least: The fewest arguments it takes.
        most: The most arguments it takes.
        takes: What it takes, for an error message: "one number, 0 or more".
    """

    call: Callable[..., Any]
    least: int
    most: int
    takes: str


def bounded(value: Any) -> Number:
    """`value`, if it is a number that the calculator holds.

    Raises:
        ToolError: It is too big, infinite, complex or no number.
    """
    if isinstance(value, int):
        if abs(value) >= _LIMIT:
            _too_big()
        return value
    if isinstance(value, complex):
        raise ToolError("the result is not a real number: a negative number has no such root; use a base of 0 or more")
    if not isinstance(value, float) or math.isnan(value):
        raise ToolError("the result is not a number; check what the expression asks for")
    if math.isinf(value):
        _too_big()
    return value


def power(base: Number, exponent: Number) -> Number:
    """`base ** exponent`, refused before it is computed where the result would be too big."""
    if isinstance(base, int) and isinstance(exponent, int) and exponent >= 0:
        _refuse_bits((abs(base).bit_length() - 1) * exponent)
    return _not_lost(bounded(base**exponent), base)


def multiply(left: Number, right: Number) -> Number:
    """`left * right`."""
    return _not_lost(bounded(left * right), left, right)


def divide(left: Number, right: Number) -> Number:
    """`left / right`; of integers an integer where it comes out even, so that big ones stay exact."""
    if isinstance(left, int) and isinstance(right, int) and left % right == 0:
        return left // right
    return _not_lost(bounded(left / right), left)


def _not_lost(result: Number, *factors: Number) -> Number:
    """`result`, unless it is 0 only because a float has no smaller number."""
    if result == 0 and all(factors):
        raise ToolError("the result is too small: it is below 5e-324 and would show as 0; use numbers closer to 1")
    return result


def _too_big() -> NoReturn:
    raise ToolError(
        f"the result is too big: integers may have {MAX_DIGITS} digits, others go to 1.8e308; use smaller numbers"
    )


def _refuse_bits(at_least: int) -> None:
    """Refuse a result that has at least so many bits, before time is spent on it."""
    if at_least > _MAX_BITS:
        _too_big()


def _whole(value: Number) -> int:
    """`value` as an integer: floats count where they are whole and exact, as `sqrt(9.0)` is."""
    if isinstance(value, float):
        if not value.is_integer() or abs(value) > _EXACT:
            raise ValueError("not a whole number")
        return int(value)
    return value


def _sqrt(value: Number) -> Number:
    if isinstance(value, int) and value >= 0:
        root = math.isqrt(value)
        if root * root == value:
            return root
    return math.sqrt(value)


def _sin(angle: Number) -> float:
    return _clean(math.sin(angle), angle)


def _cos(angle: Number) -> float:
    return _clean(math.cos(angle), angle)


def _tan(angle: Number) -> float:
    if _cos(angle) == 0:
        raise ValueError("a pole")
    return _clean(math.tan(angle), angle)


def _clean(value: float, angle: Number) -> float:
    """0 for a sine that is smaller than the rounding error of its angle: sin(pi) is 0, not 1.2e-16."""
    return 0.0 if abs(value) < math.ulp(angle) else value


def _log(value: Number, base: Number = math.e) -> float:
    if base == 1:
        raise ValueError("no logarithm has base 1")
    if base == 2:  # noqa: PLR2004  math.log2 and math.log10 round better: math.log(1000, 10) is 2.9999999999999996
        return math.log2(value)
    if base == 10:  # noqa: PLR2004  as above
        return math.log10(value)
    return math.log(value) / math.log(base)


def _exp(value: Number) -> Number:
    return _not_lost(math.exp(value))


def _round(value: Number, places: Number = 0) -> Number:
    count = _whole(places)
    if abs(count) > _MAX_PLACES:
        raise ValueError("no number has so many places")
    return round(value, count) if count else round(value)


def _factorial(value: Number) -> int:
    count = _whole(value)
    if count > _MAX_BITS:  # n! has more than n bits from n = 6 on
        _too_big()
    return math.factorial(count)


def _comb(items: Number, chosen: Number) -> int:
    n, k = _whole(items), _whole(chosen)
    fewer = min(k, n - k)
    if fewer > 0:
        _refuse_bits(fewer * max(n.bit_length() - fewer.bit_length() - 1, 1))  # comb(n, k) >= (n / k) ** k >= 2 ** k
    return math.comb(n, k)


def _perm(items: Number, chosen: Number | None = None) -> int:
    n = _whole(items)
    k = n if chosen is None else _whole(chosen)
    if 0 <= k <= n:
        _refuse_bits(max(k, k * ((n - k + 1).bit_length() - 1)))  # perm(n, k) >= (n - k + 1) ** k, and >= k!
    return math.perm(n, k)


def _gcd(*values: Number) -> int:
    return math.gcd(*map(_whole, values))


def _lcm(*values: Number) -> int:
    multiple = 1
    for value in values:
        multiple = math.lcm(multiple, _whole(value))
        bounded(multiple)  # at each step: what is too big half-way must not get bigger
    return multiple


_MANY = 2000  # no expression is long enough for more arguments

FUNCTIONS: dict[str, Function] = {
    "sqrt": Function(_sqrt, 1, 1, "one number, 0 or more"),
    "sin": Function(_sin, 1, 1, "one angle in radians"),
    "cos": Function(_cos, 1, 1, "one angle in radians"),
    "tan": Function(_tan, 1, 1, "one angle in radians, not a quarter turn"),
    "asin": Function(math.asin, 1, 1, "one number from -1 to 1"),
    "acos": Function(math.acos, 1, 1, "one number from -1 to 1"),
    "atan": Function(math.atan, 1, 1, "one number"),
    "atan2": Function(math.atan2, 2, 2, "two numbers, y and x"),
    "log": Function(_log, 1, 2, "a number above 0 and, if not e, a base above 0 that is not 1"),
    "ln": Function(math.log, 1, 1, "one number above 0"),
    "log10": Function(math.log10, 1, 1, "one number above 0"),
    "log2": Function(math.log2, 1, 1, "one number above 0"),
    "exp": Function(_exp, 1, 1, "one number"),
    "abs": Function(abs, 1, 1, "one number"),
    "round": Function(_round, 1, 2, f"a number and, if any, a whole number of places, {_MAX_PLACES} at most"),
    "floor": Function(math.floor, 1, 1, "one number"),
    "ceil": Function(math.ceil, 1, 1, "one number"),
    "min": Function(lambda *values: min(values), 1, _MANY, "one number or more"),
    "max": Function(lambda *values: max(values), 1, _MANY, "one number or more"),
    "factorial": Function(_factorial, 1, 1, "one whole number, 0 or more"),
    "gcd": Function(_gcd, 1, _MANY, "one whole number or more"),
    "lcm": Function(_lcm, 1, _MANY, "one whole number or more"),
    "comb": Function(_comb, 2, 2, "two whole numbers, 0 or more"),
    "perm": Function(_perm, 1, 2, "one or two whole numbers, 0 or more"),
    "radians": Function(math.radians, 1, 1, "one angle in degrees"),
    "degrees": Function(math.degrees, 1, 1, "one angle in radians"),
    "hypot": Function(math.hypot, 1, _MANY, "one number or more"),
}
