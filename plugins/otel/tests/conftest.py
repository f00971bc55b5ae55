"""What the tests of spans share: a provider that keeps them, and their tree as text."""

from __future__ import annotations

from collections import defaultdict
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from becket import ProviderError
from becket.testing import Scenarios
from becket_otel import OtelSink
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from becket import Agent, Event


class Recorder:
    """Keeps what a sink makes.

    Attributes:
        sink: The sink.
        provider: Its tracer provider.
        meters: Its meter provider.
    """

    def __init__(self, *, content: bool | None = None, **options: Any) -> None:
        self._exporter = InMemorySpanExporter()
        self._reader = InMemoryMetricReader()
        self.provider = TracerProvider(shutdown_on_exit=False, **options)
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.meters = MeterProvider([self._reader], shutdown_on_exit=False)
        self.sink = OtelSink(content=content, tracer_provider=self.provider, meter_provider=self.meters)

    @property
    def spans(self) -> list[ReadableSpan]:
        """Those that have ended, in the order in which they began."""
        return sorted(self._exporter.get_finished_spans(), key=lambda span: (span.start_time, -span.end_time))

    def named(self, name: str) -> ReadableSpan:
        """The only span of this name."""
        (span,) = [span for span in self.spans if span.name == name]
        return span

    def tree(self, root: ReadableSpan | None = None) -> list[Any]:
        """Names, and what is wrong: each followed by the list of those below it; all, or those below one."""
        below = defaultdict(list)
        for span in self.spans:
            below[span.parent.span_id if span.parent else None].append(span)

        def place(span: ReadableSpan) -> tuple[int, str, int]:
            """Tools that run together begin in any order, on trio."""
            asked = span.attributes.get("becket.cycle", 0), span.attributes.get("gen_ai.tool.call.id", "")
            return (*asked, span.start_time)

        def names(above: int | None) -> list[Any]:
            found: list[Any] = []
            for span in sorted(below[above], key=place):
                found.append(said(span))
                if inner := names(span.context.span_id):
                    found.append(inner)
            return found

        return names(None if root is None else root.context.span_id)

    def points(self, name: str) -> list[Any]:
        """The data points of a metric."""
        data = self._reader.get_metrics_data()
        return [
            point
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        ]


def said(span: ReadableSpan) -> str:
    error = span.attributes.get("error.type")
    assert (error is not None) == (span.status.status_code is StatusCode.ERROR), span.name
    return span.name if error is None else f"{span.name} ! {error}"


async def _play(agent: Agent[Any], prompt: str, *, until: str = "") -> list[Event]:
    """Read a run to its end, allow what is asked about, and cancel it at the event of this type."""
    seen: list[Event] = []
    stream = agent.stream_async(prompt)
    async with stream as events:
        with suppress(ProviderError):
            async for event in events:
                seen.append(event)
                if event.type == "decision_requested":
                    await stream.decide(event.request_id, answer=True)
                if event.type == until:
                    stream.cancel()
    return seen


@pytest.fixture(scope="session")
def play() -> Any:
    return _play


@pytest.fixture(scope="session")
def recorder() -> type[Recorder]:
    return Recorder


@pytest.fixture
def recorded() -> Recorder:
    return Recorder()


@pytest.fixture
def agent(recorded: Recorder) -> Agent[Any]:
    """The agent of the scenarios, observed."""
    return Scenarios().agent.replace(sinks=[recorded.sink])


@pytest.fixture(autouse=True)
def nothing_wrong(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """OpenTelemetry logs what it swallows, such as "Failed to detach context"; and becket a sink that fails."""
    monkeypatch.delenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", raising=False)
    yield
    for phase in ("setup", "call"):
        assert not [
            record for record in caplog.get_records(phase) if record.name.startswith(("opentelemetry", "becket"))
        ]
