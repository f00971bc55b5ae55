"""The sink itself: where a run's spans hang, when it does nothing at all, and how it is set."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from becket import Agent, ConfigError, Runtime, Sink, ToolContext, load_config, tool
from becket.testing import ScriptedProvider, calls, text
from becket_otel import OtelSink, _names
from opentelemetry import trace

BARE = Runtime(discover=False)


def words(*said: str) -> ScriptedProvider:
    return ScriptedProvider(text(*(said or ("a",))))


# -- the caller's trace ------------------------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize("form", ["in a block", "by a loop", "to its result"])
async def test_a_run_is_below_the_span_of_who_started_it(form: str, recorded: Any) -> None:
    """However it is started: the run has a copy of the caller's context."""
    agent = Agent(words(), name="a", sinks=[recorded.sink], runtime=BARE)
    with recorded.provider.get_tracer("host").start_as_current_span("caller"):
        match form:
            case "in a block":
                async with agent.stream_async("x") as events:
                    assert [event async for event in events]
            case "by a loop":
                assert [event async for event in agent.stream_async("x")]
            case _:
                await agent.invoke_async("x")
    assert recorded.tree() == ["caller", ["invoke_agent a", ["chat model"]]]


@pytest.mark.anyio
async def test_a_run_in_the_task_group_of_a_host_is_below_its_caller_too(recorded: Any) -> None:
    """And not below what was current where the task group was opened, such as in a lifespan."""
    tracer = recorded.provider.get_tracer("host")
    with tracer.start_as_current_span("lifespan"):
        async with Runtime(discover=False) as runtime:
            agent = Agent(words(), name="a", sinks=[recorded.sink], runtime=runtime)
            with tracer.start_as_current_span("request", context=trace.set_span_in_context(trace.INVALID_SPAN)):
                await agent.invoke_async("x")
    assert recorded.tree() == ["lifespan", "request", ["invoke_agent a", ["chat model"]]]


def test_a_sync_call_is_below_its_caller(recorded: Any) -> None:
    """Although the run lives in another thread."""
    agent = Agent(words(), name="a", sinks=[recorded.sink], runtime=BARE)
    with recorded.provider.get_tracer("host").start_as_current_span("caller"):
        agent("x")
    assert recorded.tree() == ["caller", ["invoke_agent a", ["chat model"]]]


@pytest.mark.anyio
async def test_a_run_without_a_caller_is_a_trace_of_its_own(recorded: Any) -> None:
    await Agent(words(), name="a", sinks=[recorded.sink], runtime=BARE).invoke_async("x")
    assert recorded.tree() == ["invoke_agent a", ["chat model"]]


@pytest.mark.anyio
async def test_nothing_is_made_current(recorded: Any) -> None:
    """In a tool, the caller's span is the current one; `context_of` gives that of the call."""
    tracer = recorded.provider.get_tracer("host")

    @tool(effect="none")
    async def query(ctx: ToolContext) -> str:
        """Ask a database."""
        with tracer.start_as_current_span("as it is"):
            pass
        with tracer.start_as_current_span("below", context=recorded.sink.context_of(ctx.run_id, ctx.call_id)):
            pass
        with tracer.start_as_current_span("of the run", context=recorded.sink.context_of(ctx.run_id)):
            pass
        return "done"

    model = ScriptedProvider(calls(("query", {})), text("ok"))
    agent = Agent(model, [query], name="a", sinks=[recorded.sink], runtime=BARE)
    with tracer.start_as_current_span("caller") as caller:
        await agent.invoke_async("x")
        assert trace.get_current_span() is caller
    assert recorded.tree() == [
        "caller",
        ["invoke_agent a", ["of the run", "chat model", "execute_tool query", ["below"], "chat model"], "as it is"],
    ]


def test_the_context_of_what_is_not_there_is_the_current_one(recorded: Any) -> None:
    with recorded.provider.get_tracer("host").start_as_current_span("caller") as caller:
        assert trace.get_current_span(recorded.sink.context_of("nothing", "there")) is caller


@pytest.mark.anyio
async def test_an_agent_whose_own_sink_it_is_is_below_the_tools_caller(recorded: Any) -> None:
    """The run above has no such sink, so that there is no span of its tool."""
    inner = Agent(words(), name="inner", sinks=[recorded.sink], runtime=BARE)
    model = ScriptedProvider(calls(("ask", {"prompt": "1"})), text("ok"))
    outer = Agent(model, [inner.as_tool("ask", "")], name="outer", runtime=BARE)
    with recorded.provider.get_tracer("host").start_as_current_span("caller"):
        await outer.invoke_async("x")
    assert recorded.tree() == ["caller", ["invoke_agent inner", ["chat model"]]]


@pytest.mark.anyio
async def test_a_run_that_a_sync_tool_starts_is_beside(recorded: Any) -> None:
    """It is none of the nested ones; what is current in the tool is the caller's span, in its thread too."""
    inner = Agent(words(), name="inner", sinks=[recorded.sink], runtime=BARE)

    @tool(effect="none")
    def ask() -> str:
        """Ask another agent."""
        return str(inner("x"))

    model = ScriptedProvider(calls(("ask", {})), text("ok"))
    outer = Agent(model, [ask], name="outer", sinks=[recorded.sink], runtime=BARE)
    with recorded.provider.get_tracer("host").start_as_current_span("caller"):
        await outer.invoke_async("x")
    assert recorded.tree() == [
        "caller",
        ["invoke_agent outer", ["chat model", "execute_tool ask", "chat model"], "invoke_agent inner", ["chat model"]],
    ]


# -- where nobody has set it up ----------------------------------------------------------------------------------------


def in_a_new_process(code: str, **environment: str) -> str:
    ended = subprocess.run(  # noqa: S603  ours
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False, env=environment
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


RUN = """
import sys
from becket import Agent, RunInfo, Runtime
from becket.testing import ScriptedProvider, text
from becket_otel import OtelSink
sink = OtelSink()
def run():
    Agent(ScriptedProvider(text("a")), name="a", sinks=[sink], runtime=Runtime(discover=False))("x")
run()
"""


def test_without_opentelemetry_in_use_nothing_of_it_is_imported() -> None:
    """Whoever has not imported its API has set no provider."""
    loaded = in_a_new_process(RUN + "print([name for name in sys.modules if 'opentelemetry' in name])")
    assert loaded == "[]\n"


def test_without_a_provider_a_run_costs_nothing_and_the_next_one_is_looked_at_anew() -> None:
    """One object that does nothing observes all runs, until there is a provider."""
    said = in_a_new_process(
        RUN
        + """
from opentelemetry import trace
info = RunInfo("r", "a", "p:m")
assert sink.open(info) is sink.open(info)
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
exporter, provider = InMemorySpanExporter(), TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
run()
print([span.name for span in exporter.get_finished_spans()])
"""
    )
    assert said == "['chat model', 'invoke_agent a']\n"


def test_a_provider_for_metrics_alone_is_enough() -> None:
    said = in_a_new_process(
        RUN
        + """
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
reader = InMemoryMetricReader()
metrics.set_meter_provider(MeterProvider([reader]))
run()
(scope,) = reader.get_metrics_data().resource_metrics[0].scope_metrics
print(sorted(metric.name for metric in scope.metrics))
"""
    )
    assert "gen_ai.client.operation.duration" in said


def test_a_provider_that_the_environment_names_is_found() -> None:
    """OpenTelemetry's API loads it by its entry point when it is first asked."""
    said = in_a_new_process(
        RUN + "from opentelemetry.trace import get_tracer_provider as get; print(type(get()).__module__)",
        OTEL_PYTHON_TRACER_PROVIDER="sdk_tracer_provider",
    )
    assert said == "opentelemetry.sdk.trace\n"


# -- how it is set -----------------------------------------------------------------------------------------------------


def test_it_is_found_by_its_name(recorded: Any) -> None:
    """As `becket run --sink otel` does."""
    runtime = Runtime(discover=True, allow=["otel"], sinks=["otel"])
    agent = Agent(words(), name="a", runtime=runtime)
    assert str(agent("x")) == "a"
    assert isinstance(OtelSink(), Sink)


def test_it_takes_one_argument_and_no_other() -> None:
    """`otel:content`; the error says what there is."""
    assert isinstance(OtelSink().with_argument("content"), OtelSink)
    with pytest.raises(ConfigError, match=r"'contents'; write 'otel', or 'otel:content'"):
        OtelSink().with_argument("contents")


def test_a_setting_of_the_wrong_type_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "becket.toml"
    file.write_text("[plugins.otel]\ncontent = 'maybe'\n")
    with pytest.raises(ConfigError, match="content"):
        Runtime(discover=True, allow=["otel"], config=load_config(file))


# -- the names ---------------------------------------------------------------------------------------------------------


def test_every_name_is_one_that_the_conventions_have() -> None:
    """As OpenTelemetry's own package lists them, which is made of their registry."""
    from opentelemetry.semconv._incubating.attributes import error_attributes, gen_ai_attributes
    from opentelemetry.semconv._incubating.metrics import gen_ai_metrics

    known = {
        value
        for module in (error_attributes, gen_ai_attributes, gen_ai_metrics)
        for name, value in vars(module).items()
        if name.isupper()
    }
    ours = {value for name, value in vars(_names).items() if name.isupper() and isinstance(value, str)}
    assert not {name for name in ours if name.startswith(("gen_ai.", "error."))} - known


def test_no_name_is_written_anywhere_else() -> None:
    """They change: then there is one file to change."""
    folder = Path(_names.__file__).parent
    for file in folder.glob("*.py"):
        code = file.read_text(encoding="utf-8").replace("`gen_ai.", "`")
        assert file.name == "_names.py" or "gen_ai." not in code, file


def test_the_version_is_that_of_the_package() -> None:
    project = Path(__file__).parent.parent / "pyproject.toml"
    assert tomllib.loads(project.read_text())["project"]["version"] == _names.VERSION
