"""A plugin of pytest that `becket check` loads: it tells what came of the conformance classes of a project's tests.

Of the tests that are collected only those of such classes run. A line of JSON for each goes to the file that the
variable `BECKET_CHECK_TELL` names.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

__all__: list[str] = []

_NAMES = pytest.StashKey[dict[tuple[str, str], dict[str, None]]]()


def _contract(item: pytest.Item) -> type | None:
    """The class of `becket.testing` that says what is tested: the most general that the test's class inherits from."""
    found = [
        base
        for base in getattr(getattr(item, "cls", None), "__mro__", ())
        if base.__name__.endswith("Conformance") and base.__module__.startswith("becket.testing")
    ]
    return found[-1] if found else None


def _rule(item: pytest.Item) -> str:
    return str(getattr(item, "originalname", item.name))


def _class(item: pytest.Item) -> tuple[str, str]:
    return str(item.path), item.nodeid.rpartition("::")[0].rpartition("::")[2]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is no test of a contract."""
    config.stash[_NAMES] = {}
    others = [item for item in items if _contract(item) is None]
    items[:] = [item for item in items if _contract(item) is not None]
    config.hook.pytest_deselected(items=others)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Note the names of what the test makes."""
    names = item.config.stash[_NAMES].setdefault(_class(item), {})
    instance = getattr(item, "instance", None)
    for name in dir(type(instance)):
        if name.startswith("make_") and name not in {"make_body", "make_request"}:
            setattr(instance, name, _noting(getattr(instance, name), names))
    if plugin := getattr(instance, "plugin", ""):
        names[str(plugin)] = None
    return (yield)


def _noting(make: Callable[..., Any], names: dict[str, None]) -> Callable[..., Any]:
    def made(*arguments: Any, **options: Any) -> Any:
        given = make(*arguments, **options)
        for one in given if isinstance(given, list | tuple) else [given]:
            if isinstance(name := getattr(one, "name", None), str):
                names[name] = None
        return given

    return made


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Tell what came of it."""
    report = yield
    contract = _contract(item)
    if contract is None or (report.when != "call" and report.passed):
        return report
    rule = _rule(item)
    error = call.excinfo.value if call.excinfo is not None else None
    if isinstance(report.longrepr, tuple):
        said = report.longrepr[2].removeprefix("Skipped: ")
    elif isinstance(error, AssertionError):
        said = str(error)
    else:
        said = "" if error is None else f"{type(error).__name__}: {error}"
    kind = re.sub(r"(?<!^)(?=[A-Z])", " ", contract.__name__.removesuffix("Conformance")).lower()
    _tell(
        file=str(item.path),
        cls=_class(item)[1],
        kind=kind,
        names=[*item.config.stash[_NAMES].get(_class(item), {})],
        rule=rule.removeprefix("test_").replace("_", " "),
        holds=None if report.skipped else report.passed,
        said=said,
        about=(getattr(item.cls, rule).__doc__ or "").partition("\n")[0].strip(),  # type: ignore[attr-defined]  # it has a class
    )
    return report


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Tell of a file that cannot be imported."""
    if report.failed:
        _tell(file=report.nodeid, broken=str(report.longrepr).strip().splitlines()[-1])


def pytest_sessionfinish(exitstatus: int) -> None:
    """Tell that this was all, and how it ended."""
    _tell(done=int(exitstatus))


def _tell(**line: object) -> None:
    with Path(os.environ["BECKET_CHECK_TELL"]).open("a", encoding="utf-8") as file:
        file.write(f"{json.dumps(line)}\n")
