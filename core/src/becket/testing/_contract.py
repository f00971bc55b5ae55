"""What the classes that hold the tests of a contract have in common.

pytest is imported by whoever runs the tests, and not here: `becket.testing.check` runs them without it.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Contract", "missing", "must", "not_looked_at", "rules_of", "sentence_of"]


class Contract:
    """Tests of a contract, one method each; a subclass says how the thing under test is made.

    They run on every event loop that the fixture `anyio_backend` names: asyncio and trio, unless it is overridden.

    It is no abstract class: pytest passes over those, and a method that was forgotten would be green.
    """

    if TYPE_CHECKING:
        pytestmark: Any

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if (pytest := sys.modules.get("pytest")) is not None:
            Contract.pytestmark = pytest.mark.anyio


def missing(contract: Contract, method: str) -> NotImplementedError:
    """What is raised in place of a method that a subclass is to have."""
    return NotImplementedError(f"{type(contract).__name__} does not say what is tested: define {method} in it")


def must(holds: object, rule: str) -> None:
    """Not `assert`, which says little outside of test files, and nothing under `python -O`."""
    if not holds:
        raise AssertionError(rule)


def not_looked_at(why: str) -> NoReturn:
    """End a test that cannot be made, as one that was skipped: pytest knows this exception too."""
    from unittest import SkipTest

    raise SkipTest(why)


def rules_of(contract: type[Contract]) -> Iterator[str]:
    """The names of the tests of a contract, in the order in which they are written."""
    seen = dict.fromkeys(name for cls in reversed(contract.__mro__) for name in vars(cls))
    return (name for name in seen if name.startswith("test_"))


def sentence_of(contract: type[Contract], rule: str) -> str:
    """What a test is about: the first line of its docstring."""
    return (getattr(contract, rule).__doc__ or rule.removeprefix("test_").replace("_", " ")).partition("\n")[0].strip()
