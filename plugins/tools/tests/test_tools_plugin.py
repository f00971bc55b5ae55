"""What the host, the model and the policy get to know of the tools."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

import becket_tools
import pytest
from becket_tools import calculator, current_time, http_request, make_http_request

if TYPE_CHECKING:
    from becket import Tool


def test_the_entry_point_leads_to_the_module() -> None:
    [found] = entry_points(group="becket", name="tools")
    assert found.load() is becket_tools


def test_the_hook_registers_the_three_tools_that_need_no_folder() -> None:
    assert becket_tools.register_tools(becket_tools.declare_config()()) == [calculator, current_time, http_request]


@pytest.mark.parametrize("tool", [calculator, current_time])
def test_each_is_a_tool_that_may_be_called_again_and_stays_on_this_machine(tool: Tool[..., str]) -> None:
    assert (tool.reach, tool.idempotent) == ("local", True)


def test_the_calculator_only_computes_and_the_clock_reads() -> None:
    assert (calculator.effect, current_time.effect) == ("none", "read")


@pytest.mark.parametrize("tool", [http_request, make_http_request(allow=["127.0.0.1"])])
def test_a_request_may_write_and_leaves_this_machine_so_that_nobody_grants_it_unasked(tool: Tool[..., Any]) -> None:
    assert (tool.name, tool.effect, tool.reach, tool.idempotent) == ("http_request", "write", "network", False)


@pytest.mark.parametrize(
    ("arguments", "effect"),
    [
        ({"url": "https://example.com"}, "read"),
        ({"url": "https://example.com", "method": "HEAD"}, "read"),
        ({"url": "https://example.com", "method": "POST"}, "write"),
        ({"url": "https://example.com", "method": "get"}, "write"),
        ({"url": "https://example.com", "method": ["GET"]}, "write"),
        ({"url": "https://example.com", "headers": {"Accept": "*/*"}, "body": ""}, "read"),
        ({"url": "https://example.com", "headers": ["X-Method-Override"]}, "read"),  # no call that is made
        ({"url": "https://example.com", "headers": {"X-HTTP-Method-Override": "DELETE"}}, "write"),
        ({"url": "https://example.com", "body": "x"}, "write"),
    ],
)
def test_a_request_that_gets_reads_and_every_other_one_writes(arguments: dict[str, Any], effect: str) -> None:
    assert http_request.effect_of(arguments) == effect


def test_of_a_request_only_the_url_is_required() -> None:
    schema: dict[str, Any] = http_request.spec.schema
    assert (list(schema["properties"]), schema["required"]) == (["url", "method", "headers", "body"], ["url"])


def test_the_model_is_told_one_text_argument_each() -> None:
    schemas: dict[str, Any] = {tool.name: tool.spec.schema for tool in (calculator, current_time)}
    shown = {name: (list(schema["properties"]), schema.get("required")) for name, schema in schemas.items()}
    assert shown == {"calculator": (["expression"], ["expression"]), "current_time": (["timezone"], None)}


def test_importing_the_plugin_imports_nothing_that_only_a_call_needs() -> None:
    heavy = {"simpleeval", "zoneinfo", "tzdata", "difflib", "becket_tools._calculate", "becket_tools._clock"}
    heavy |= {"httpx2", "httpcore2", "h11", "ssl", "ipaddress", "becket_tools._http", "becket_tools._addresses"}
    heavy |= {"re2", "pydantic", "tomllib", "becket_tools._root", "becket_tools._read", "becket_tools._config"}
    script = f"""
import becket, sys
before = set(sys.modules)
import becket_tools
print(*{heavy!r} & (set(sys.modules) - before))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)  # noqa: S603  our own words
    assert done.stdout.split() == []
