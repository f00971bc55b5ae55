"""From the text of an expression to the text of its value."""

from __future__ import annotations

import ast
import operator
from typing import Any

import simpleeval  # type: ignore[import-untyped]  # it has no types
from becket import ToolError

from becket_tools._arithmetic import CONSTANTS, FUNCTIONS, Function, Number, bounded, divide, multiply, power
from becket_tools._notation import to_python

__all__ = ["calculate", "show"]

_INTEGRAL = 1e15  # below it a float with 15 significant digits shows as an integer


def calculate(expression: str) -> str:
    """The value of `expression`, as `show` writes it.

    Raises:
        ToolError: It cannot be read, or it has no value that a calculator can show. The text says what to change.
    """
    python = to_python(expression)
    try:
        return show(bounded(_EVALUATOR.eval(python)))
    except ZeroDivisionError as error:
        raise ToolError("division by zero has no result; make the divisor something other than 0") from error
    except OverflowError as error:
        raise ToolError("the numbers are too big: with decimals they go to 1.8e308; use smaller numbers") from error
    except (RecursionError, MemoryError) as error:  # the caller's own stack counts too, so no limit rules this out
        raise ToolError("the expression is nested too deeply; calculate it in several steps") from error
    except (SyntaxError, simpleeval.InvalidExpression) as error:  # nothing known leads here: `to_python` refuses first
        raise ToolError("this is no arithmetic expression; write numbers, + - * / ** and parentheses") from error


def show(value: Number) -> str:
    """A number as a desk calculator shows it.

    An integer has all its digits. Anything else is rounded to 15 significant digits, which is what a float holds for
    certain: 0.1 + 0.2 is 0.3. Where that leaves a whole number below 1e15 it shows as one: 1.5 * 2 is 3.
    """
    if isinstance(value, int):
        return str(value)
    rounded = float(f"{value:.15g}")
    if rounded.is_integer() and abs(rounded) < _INTEGRAL:
        return str(int(rounded))
    return f"{value:.15g}"


class _Evaluator(simpleeval.SimpleEval):  # type: ignore[misc]  # as above
    """simpleeval with nothing but numbers: its attributes, strings, comparisons and keywords are taken out."""

    def __init__(self) -> None:
        operators = {
            ast.Add: lambda left, right: bounded(left + right),
            ast.Sub: lambda left, right: bounded(left - right),
            ast.Mult: multiply,
            ast.Div: divide,
            ast.FloorDiv: lambda left, right: bounded(left // right),
            ast.Mod: lambda left, right: bounded(left % right),
            ast.Pow: power,
            ast.UAdd: operator.pos,
            ast.USub: operator.neg,
        }
        super().__init__(operators=operators, functions={}, names=CONSTANTS)
        self.nodes = {
            ast.Expr: self._eval_expr,
            ast.Constant: lambda node: bounded(node.value),
            ast.Name: self._eval_name,
            ast.UnaryOp: self._eval_unaryop,
            ast.BinOp: self._left_to_right,
            ast.Call: self._call,
        }

    def _left_to_right(self, node: ast.BinOp) -> Number:
        """The value of `1 + 2 + 3 ...`, however long, without a level of recursion for each term."""
        chain = [node]
        while isinstance(left := chain[-1].left, ast.BinOp):
            chain.append(left)
        value: Number = self._eval(chain[-1].left)
        for link in reversed(chain):
            value = self.operators[type(link.op)](value, self._eval(link.right))
        return value

    def _call(self, node: ast.Call) -> Number:
        """The value of a function, with a sentence about its arguments where they do not fit."""
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        function = FUNCTIONS.get(name)
        if function is None or node.keywords:
            raise simpleeval.FunctionNotDefined(name, self.expr)
        arguments = [self._eval(argument) for argument in node.args]
        if not function.least <= len(arguments) <= function.most:
            raise ToolError(f"{name} takes {function.takes}, and it was given {len(arguments)}; {_COMMAS}")
        return _apply(name, function, arguments)


_COMMAS = "between its parentheses a comma separates arguments, so write 1000 there and not 1,000"


def _apply(name: str, function: Function, arguments: list[Any]) -> Number:
    try:
        return bounded(function.call(*arguments))
    except ValueError as error:
        shown = ", ".join(show(argument)[:40] for argument in arguments[:3])
        raise ToolError(f"{name}({shown}) has no value; {name} takes {function.takes}") from error


_EVALUATOR = _Evaluator()  # one for all threads: it holds no state but the last expression's text, for its messages
