"""The calculator: what it gives for what people and models write, and what it says where it gives nothing."""

from __future__ import annotations

import math
import sys
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest
from becket import ToolError
from becket_tools import calculator
from becket_tools._arithmetic import FUNCTIONS, MAX_DIGITS, bounded
from becket_tools._calculate import _EVALUATOR
from becket_tools._notation import MAX_LENGTH
from hypothesis import example, given
from hypothesis import strategies as st
from simpleeval import InvalidExpression  # type: ignore[import-untyped]  # it has no types

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("42 + 7", "49"),
        ("(3 + 4) * 2", "14"),
        ("2 - 3 - 4", "-5"),
        ("7 // 2", "3"),
        ("-7 // 2", "-4"),
        ("7 % 3", "1"),
        ("2 ** 3 ** 2", "512"),
        ("-2 ** 2", "-4"),
        ("2 ** -2", "0.25"),
        ("--3", "3"),
        ("+3", "3"),
        (".5 + 1.", "1.5"),
        ("1e5", "100000"),
        ("1_000 + 1", "1001"),
        ("007 + 1", "8"),
    ],
)
def test_arithmetic_follows_the_usual_precedence(expression: str, value: str) -> None:
    assert calculator(expression) == value


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("6 / 2", "3"),
        ("0.1 + 0.2", "0.3"),
        ("1.5 * 2", "3"),
        ("1 / 3", "0.333333333333333"),
        ("1 / 3 * 3", "1"),
        ("-0.0", "0"),
        ("123456789 * 987654321", "121932631112635269"),
        ("10 ** 400 / 10 ** 399", "10"),
        ("10.0 ** 15", "1e+15"),
        ("2.0 ** 0.5", "1.4142135623731"),
        ("1e-7", "1e-07"),
        ("1.7976931348623157e308", "1.79769313486232e+308"),
    ],
)
def test_a_result_is_written_as_a_desk_calculator_shows_it(expression: str, value: str) -> None:
    assert calculator(expression) == value


def test_an_integer_is_exact_to_its_last_digit() -> None:
    assert calculator("2 ** 1000 + 1") == str(2**1000 + 1)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("2^10", "1024"),
        ("3 \N{MULTIPLICATION SIGN} 4 \N{DIVISION SIGN} 2 \N{MINUS SIGN} 1", "5"),
        ("3 x 19", "57"),
        ("3x19", "57"),
        ("2 X (3 + 4)", "14"),
        ("3 times 19", "57"),
        ("5 plus 3 minus 1", "7"),
        ("100 divided by  8", "12.5"),
        ("2 multiplied by 3", "6"),
        ("2 to the power of 10", "1024"),
        ("7 mod 4", "3"),
        ("3 squared + 2 cubed", "17"),
        ("3\N{SUPERSCRIPT TWO}", "9"),
        ("2 * \N{GREEK SMALL LETTER PI}", "6.28318530717959"),
        ("\N{SQUARE ROOT}(16)", "4"),
        ("square root of 144", "12"),
        ("5 + the square root of 1,024", "37"),
    ],
)
def test_signs_and_words_that_people_write_are_read(expression: str, value: str) -> None:
    assert calculator(expression) == value


@pytest.mark.parametrize(
    "expression",
    [
        "42 + 7 =",
        "= 42+7",
        "42 + 7?",
        "42 + 7 = ?",
        "What is 42 + 7?",
        "what's 42 + 7",
        "Calculate: 42 + 7.",
        "`42 + 7`",
        '"42+7"',
    ],
)
def test_what_models_write_around_an_expression_is_left_out(expression: str) -> None:
    assert calculator(expression) == "49"


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("1,000 + 1", "1001"),
        ("12,345,678.5 * 2", "24691357"),
        ("(1,234 + 1) * 2", "2470"),
        ("sqrt((1,024))", "32"),
        ("max(1,200)", "200"),
        ("gcd(48,180)", "12"),
        ("max(1, 2, 3) + 1,000", "1003"),
    ],
)
def test_a_comma_groups_thousands_except_between_arguments(expression: str, value: str) -> None:
    assert calculator(expression) == value


@pytest.mark.parametrize(
    "expression", ["sqrt(1,000)", "max(1,000, 2)", "sqrt(1,234)", "3,5 + 1", "0,123", "1,00", "1,000,00", "1, 2"]
)
def test_a_comma_that_may_mean_two_things_is_refused(expression: str) -> None:
    with pytest.raises(ToolError, match="comma"):
        calculator(expression)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("20% of 50", "10"),
        ("20 percent of 50", "10"),
        ("100 - 20% of 50", "90"),
        ("7% of 100", "7"),
        ("max(20% of 50, 3)", "10"),
    ],
)
def test_a_percentage_of_something_is_taken(expression: str, value: str) -> None:
    assert calculator(expression) == value


@pytest.mark.parametrize(
    "expression",
    ["50 + 20%", "20%", "20% - 5", "20% + 5", "(20%) * 5", "8 / 20% of 50", "2 ** 20% of 5", "(1)% of 5", "5 percent"],
)
def test_a_percentage_that_may_mean_two_things_is_refused(expression: str) -> None:
    with pytest.raises(ToolError, match="percentage"):
        calculator(expression)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("sqrt(2)", "1.4142135623731"),
        ("sqrt(10 ** 400)", str(10**200)),
        ("sin(pi)", "0"),
        ("sin(pi / 6)", "0.5"),
        ("cos(pi / 2)", "0"),
        ("cos(0)", "1"),
        ("tan(pi / 4)", "1"),
        ("asin(1) * 2 - pi", "0"),
        ("acos(1)", "0"),
        ("atan(1) * 4 - pi", "0"),
        ("atan2(1, -1)", "2.35619449019234"),
        ("log(e)", "1"),
        ("log(8, 2)", "3"),
        ("log(1000, 10)", "3"),
        ("log(9, 3)", "2"),
        ("ln(e)", "1"),
        ("log10(1000)", "3"),
        ("log2(8)", "3"),
        ("exp(0)", "1"),
        ("abs(-3)", "3"),
        ("round(2.567, 2)", "2.57"),
        ("round(1234, -2)", "1200"),
        ("round(2.6)", "3"),
        ("floor(-2.5)", "-3"),
        ("ceil(2.1)", "3"),
        ("min(3, 1, 2)", "1"),
        ("max(3, 1, 2)", "3"),
        ("factorial(20)", "2432902008176640000"),
        ("factorial(sqrt(9))", "6"),
        ("factorial(9.0 ** 0.5)", "6"),
        ("gcd(48, 180)", "12"),
        ("lcm(4, 6, 10)", "60"),
        ("comb(49, 6)", "13983816"),
        ("comb(3, 5)", "0"),
        ("perm(5, 2)", "20"),
        ("perm(4)", "24"),
        ("perm(3, 5)", "0"),
        ("radians(180) - pi", "0"),
        ("degrees(pi)", "180"),
        ("hypot(3, 4)", "5"),
        ("tau / pi", "2"),
        ("SQRT(PI ** 2) - Pi", "0"),
    ],
)
def test_functions_and_constants(expression: str, value: str) -> None:
    assert calculator(expression) == value


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("1 / 0", "division by zero"),
        ("1 // 0", "division by zero"),
        ("1 % 0", "division by zero"),
        ("0 ** -1", "division by zero"),
        ("sqrt(-4)", r"sqrt\(-4\) has no value; sqrt takes one number, 0 or more"),
        ("log(0)", "log takes a number above 0"),
        ("log(5, 1)", "base above 0 that is not 1"),
        ("asin(2)", "from -1 to 1"),
        ("tan(pi / 2)", "quarter turn"),
        ("factorial(-1)", "whole number, 0 or more"),
        ("factorial(3.5)", "whole number"),
        ("gcd(1e300)", "whole number"),
        ("(-8) ** (1/3)", "not a real number"),
        ("sqrt()", "missing"),
        ("sqrt(1, 2)", "sqrt takes one number, 0 or more, and it was given 2"),
        ("atan2(1)", "two numbers"),
        ("sqrt 9", r"write sqrt\(...\)"),
        ("square root of 9 + 16", r"write sqrt\(...\)"),
        ("square root of nine", r"write sqrt\(...\)"),
        ("sqr(9)", "did you mean sqrt"),
        ("qqq + 1", "'qqq' is unknown.*factorial"),
        ("2x + 1", "'x' is unknown"),
        ("2 pi", "operator is missing"),
        ("2 (3)", "operator is missing"),
        ("2 sqrt(9)", "operator is missing"),
        ("2 3", "operator is missing"),
        ("2 +", "breaks off"),
        ("* 2", "no number before"),
        ("2 * / 3", "no number before"),
        ("(2 + ) 3", "missing before"),
        ("max(1,,2)", "argument is missing"),
        ("2 + 3)", r"no '\(' before"),
        ("(2 + 3", "not closed"),
        ("42 + 7 = 49", "'='"),
        ("0x10", "base 10"),
        ("5!", "'!'"),
        ("", "nothing to calculate"),
        (" = ?", "nothing to calculate"),
    ],
)
def test_a_refusal_says_what_to_change(expression: str, said: str) -> None:
    with pytest.raises(ToolError, match=said):
        calculator(expression)


@pytest.mark.parametrize(
    "expression",
    [
        "(1).real",
        "'a' * 3",
        "lambda: 1",
        "[1]",
        "[x for x in 3]",
        "{1}",
        "1 if 2 else 3",
        "1 and 2",
        "not 1",
        "True",
        "None",
        "1 < 2",
        "1 == 1",
        "1 << 2",
        "1 | 2",
        "~1",
        "(y := 3)",
        "max(*3)",
        "max(**3)",
        "round(2, ndigits=3)",
        "__import__('os')",
        "1; 2",
        "1 # 2",
        "f'{1}'",
        "...",
        "1j",
        "sqrt",
        "max(sqrt, 1)",
        "(sqrt)(4)",
        "pi(2)",
        "e.real",
        "\x00",
        "\ud800",
        "\N{ARABIC-INDIC DIGIT FOUR}",
    ],
)
def test_nothing_but_arithmetic_is_read(expression: str) -> None:
    with pytest.raises(ToolError):
        calculator(expression)


@pytest.mark.parametrize(
    "python", ["(1).real", "'a' * 3", "[1]", "sqrt", "max(x=1)", "open(1)", "(1)(2)", "1 < 2", "x = 1"]
)
def test_the_evaluator_refuses_by_itself_what_the_reader_should_have_refused(python: str) -> None:
    """Two locks on one door: this looks inside, since nothing that is known passes the first."""
    with pytest.raises((InvalidExpression, ToolError)):
        _EVALUATOR.eval(python)


def test_what_is_no_number_is_no_result() -> None:
    """As above: no operation of the calculator gives it."""
    with pytest.raises(ToolError, match="not a number"):
        bounded(math.nan)


def _steps(call: Callable[[], object]) -> int:
    """How many functions, Python's and C's, `call` calls: its time in a unit that no busy machine changes."""
    count = 0

    def observe(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(observe)
    try:
        call()
    except ToolError:
        pass
    finally:
        sys.setprofile(before)
    return count


_STEPS = 100 * MAX_LENGTH + 20_000  # at most 100 a character; a suggestion for an unknown name has 20,000 at most


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("9**9**9", "too big"),
        ("9**9**9**9**9", "too big"),
        ("(10**500)**1000", "too big"),
        ("(10**1000)**1000", "too big"),
        ("2**-10000000", "too small"),
        ("2**-(10**400)", "too big"),
        ("1e-300 * 1e-300", "too small"),
        ("1 / 10**500", "too small"),
        ("exp(-1000)", "too small"),
        ("exp(1000)", "too big"),
        ("1e308 * 10", "too big"),
        ("1e308 + 1e308", "too big"),
        ("10**500 * 1.5", "too big"),
        ("10**500 * 10**500", "too big"),
        ("1e400", "above 1.8e308"),
        ("9" * (MAX_DIGITS + 1), "601 digits"),
        ("factorial(10**9)", "too big"),
        ("factorial(300)", "too big"),
        ("comb(10**300, 10**200)", "too big"),
        ("comb(10**500, 3)", "too big"),
        ("comb(10**9, 5 * 10**8)", "too big"),
        ("perm(10**9, 10**8)", "too big"),
        ("perm(10**9)", "too big"),
        ("perm(10**500, 3)", "too big"),
        ("lcm(" + ",".join(str(10**8 + i) for i in range(150)) + ")", "too big"),
        ("round(5, -10**9)", "400 at most"),
        ("round(5.5, 10**500)", "400 at most"),
        ("sqrt(10**500 + 1)", "too big"),
        ("'a' * 10**9", "unknown"),
        ("(" * 10_000 + "1" + ")" * 10_000, "20001 characters"),
        ("(" * 60 + "1" + ")" * 60, "50 parentheses"),
        ("sqrt(" * 60 + "1" + ")" * 60, "50 parentheses"),
        ("-" * 500 + "1", "100 signs"),
        ("1**" * 500 + "1", "100 signs"),
        ("1+" * 500_000 + "1", "1000001 characters"),
        ("a" * MAX_LENGTH, "unknown"),
        (" " * 1_000_000, "1000000 characters"),
    ],
)  # fmt: skip
def test_what_would_take_long_or_much_is_refused_in_few_steps(expression: str, said: str) -> None:
    with pytest.raises(ToolError, match=said) as caught:
        calculator(expression)
    assert len(str(caught.value)) < 500
    assert _steps(lambda: calculator(expression)) < _STEPS


@pytest.mark.parametrize(
    ("expression", "value"),
    [("1+" * 999 + "1", "1000"), ("(" * 50 + "1" + ")" * 50, "1"), ("-" * 100 + "1", "1"), ("1**" * 100 + "1", "1")],
)
def test_the_longest_that_is_allowed_is_calculated(expression: str, value: str) -> None:
    assert calculator(expression) == value


def test_a_caller_near_the_end_of_its_own_stack_gets_a_tool_error() -> None:
    """Where the recursion limit strikes depends on the caller; the calculator's own limits cannot rule it out."""

    def deep(levels: int) -> str:
        return deep(levels - 1) if levels else calculator("-" * 99 + "1")

    calculator("1")  # so that what strikes is the calculation, and not an import
    outcomes = set()
    for levels in range(0, sys.getrecursionlimit(), 10):
        try:
            outcomes.add(deep(levels))
        except ToolError as error:
            outcomes.add(str(error))
        except RecursionError:
            break  # before the calculator was reached
    assert "the expression is nested too deeply; calculate it in several steps" in outcomes


_INTEGERS = st.integers(-(10**20), 10**20)


def _written(draw: st.DrawFn, depth: int) -> tuple[str, Fraction]:
    if depth == 0 or draw(st.booleans()):
        number = draw(_INTEGERS)
        return (f"({number})" if number < 0 else str(number)), Fraction(number)
    left, a = _written(draw, depth - 1)
    right, b = _written(draw, depth - 1)
    symbol = draw(st.sampled_from(["+", "-", "*"]))
    space = draw(st.sampled_from(["", " ", "\n"]))
    value = {"+": a + b, "-": a - b, "*": a * b}[symbol]
    return f"({left}{space}{symbol}{space}{right})", value


@st.composite
def _sums(draw: st.DrawFn) -> tuple[str, Fraction]:
    """An expression of integers, + - * and parentheses, and its value by exact fractions."""
    return _written(draw, 4)


@given(_sums())
def test_integers_are_calculated_as_exact_fractions_are(case: tuple[str, Fraction]) -> None:
    expression, value = case
    assert Fraction(calculator(expression)) == value


@given(_INTEGERS, _INTEGERS.filter(bool))
def test_a_division_is_as_near_as_15_digits_are(left: int, right: int) -> None:
    result, exact = Fraction(calculator(f"{left} / {right}")), Fraction(left, right)
    assert abs(result - exact) <= abs(exact) / 10**14


@given(st.lists(st.tuples(st.sampled_from(["+", "-", "*", "//", "%"]), st.integers(1, 10**6)), max_size=8))
def test_without_parentheses_precedence_is_pythons(terms: list[tuple[str, int]]) -> None:
    text = "1 " + " ".join(f"{symbol} {number}" for symbol, number in terms)
    # "%" before "-" or "+" needs no care: no number here has a sign. The text is made here, of integers and operators.
    assert calculator(text) == str(eval(text))  # noqa: S307


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e300, max_value=1e300))
def test_a_number_alone_is_shown_to_15_digits(number: float) -> None:
    assert math.isclose(float(calculator(repr(number))), number, rel_tol=1e-14)


@given(st.integers(-50, 50), st.integers(0, 60))
def test_powers_of_integers_are_exact(base: int, exponent: int) -> None:
    assert calculator(f"({base}) ^ {exponent}") == str(base**exponent)


@given(st.integers(0, 10**12))
def test_grouped_thousands_are_the_number(number: int) -> None:
    assert calculator(f"{number:,}") == str(number)


_PIECES = st.sampled_from([
    *"0123456789+-*/%^().,xe =?!'\"[]{}<>&|~:;_#@\\\n\x00",
    *("**", "//", "1e999", "10**", "9" * 50, "pi", "%of", "squared ", "mod ", " and ", "lambda ", "0x"),
    *("square root of ", "what is ", *(f"{name}(" for name in FUNCTIONS)),
])  # fmt: skip


@given(st.one_of(st.text(), st.lists(_PIECES, max_size=60).map("".join)))
@example("factorial(factorial(factorial(9)))")
@example("1or 2")
@example("0_0")
@example("comb(999999999999,9999999)")
def test_any_text_gives_a_result_or_a_tool_error_in_few_steps(text: str) -> None:
    """No other exception passes, no warning of Python's parser, and the length explains the time."""
    said = []

    def call() -> None:
        try:
            said.append(calculator(text))
        except ToolError as error:
            said.append(str(error))

    assert _steps(call) < _STEPS
    assert 0 < len(said[0]) <= MAX_DIGITS + 1
