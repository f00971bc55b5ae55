"""`becket config`: the files, the effective values, where each comes from, and what is wrong."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from becket_cli import _lists
from becket_cli._exits import CONFIG, complain
from becket_cli._plugins import built, ended

if TYPE_CHECKING:
    from becket_cli._exits import State

__all__ = ["show"]

Row = dict[str, Any]


def show(state: State, *, as_json: bool) -> int:
    """Print the configuration, and return the exit code: that of a wrong one where something is wrong with it.

    Args:
        state: What the commands of this invocation share.
        as_json: Whether to print JSON.
    """
    runtime = built(state, tell=state.traceback, lenient=True)
    report = runtime.config_report()
    files = [{"file": one.path, "kind": one.kind, "status": one.status, "reason": one.reason} for one in report.files]
    settings: list[Row] = [
        {
            "key": one.key,
            "value": _plain(one.value),
            "from": one.origin.kind,
            "place": one.origin.place,
            "note": one.note,
        }
        for one in report.settings
    ]
    if as_json:
        _lists.echo(
            json.dumps(
                {
                    "files": files,
                    "settings": settings,
                    "problems": list(report.problems),
                    "remarks": list(report.remarks),
                },
                indent=2,
            )
        )
    else:
        rows = [
            row | {"status": f"{row['status']}: {row['reason']}" if row["reason"] else row["status"]} for row in files
        ]
        _lists.show(
            rows, {"FILE": "file", "OF": "kind", "STATUS": "status"}, as_json=False, otherwise="no file is read"
        )
        _lists.echo("")
        _lists.show(
            [row | {"shown": _shown(row), "where": _where(row)} for row in settings],
            {"KEY": "key", "VALUE": "shown", "FROM": "where"},
            as_json=False,
            otherwise="",
        )
    for remark in report.remarks:
        complain(remark)
    return CONFIG if report.problems else ended(runtime)


def _plain(value: object) -> Any:
    """The value as JSON has it; what JSON lacks (a path, a date, a pattern) as its text."""
    return json.loads(json.dumps(value, default=str))


def _shown(row: Row) -> str:
    """The value as a file has it; nothing where there is none, but for limits, where that is a value."""
    if row["value"] is None:
        return '"none"' if row["key"].startswith("limits.") else ""
    return json.dumps(row["value"], ensure_ascii=False)


def _where(row: Row) -> str:
    where = row["place"] or row["from"]
    return f"{where} ({row['note']})" if row["note"] else where
