"""The sink `otel`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from becket import ConfigError

from becket_otel import _names as names
from becket_otel._telemetry import current

if TYPE_CHECKING:
    import opentelemetry.context
    import opentelemetry.metrics
    import opentelemetry.trace
    from becket import Event, RunInfo, SinkRun

    from becket_otel._telemetry import Telemetry

__all__ = ["OtelSink", "Settings"]


@dataclass(kw_only=True)
class Settings:
    """The table `[plugins.otel]`.

    Attributes:
        content: Whether spans say what was said: messages, arguments and results of tools. Where nothing is set, the
            environment variable `OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT` decides, and without that, no.
    """

    content: bool | None = None


class OtelSink:
    """Makes spans and metrics of runs, by OpenTelemetry's conventions for generative AI.

    Where nobody has set up OpenTelemetry in the process, it does nothing; that is looked at anew with each run. A run's
    spans are below the span that was current where the run was started.

    Args:
        content: Whether spans say what was said: messages, arguments and results of tools, as events have them, masked
            where there are masks. None leaves it to the environment variable
            `OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT`, whose values `true`, `span_only` and `span_and_event`
            ask for it; without that, no.
        tracer_provider: Where spans go, None for what is set for the process.
        meter_provider: As above, for metrics.

    Attributes:
        name: `otel`.
        required: False: a run does not fail because it cannot be observed.
    """

    name = "otel"
    required = False

    def __init__(
        self,
        *,
        content: bool | None = None,
        tracer_provider: opentelemetry.trace.TracerProvider | None = None,
        meter_provider: opentelemetry.metrics.MeterProvider | None = None,
    ) -> None:
        self._content = content
        self._traces = tracer_provider
        self._meters = meter_provider
        self._telemetry: Telemetry | None = None
        self._open: dict[tuple[str, str | None], opentelemetry.trace.Span] = {}

    def open(self, run: RunInfo, /) -> SinkRun:  # noqa: ARG002  the events say which run they are of
        """What observes this run."""
        telemetry = self._telemetry = current(self._traces, self._meters, self._telemetry)
        if telemetry is None:
            return _NOTHING
        from becket_otel._spans import RunSpans  # imports the API, which takes a while

        return RunSpans(telemetry, self._open, content=self._says_content())

    def with_argument(self, argument: str, /) -> OtelSink:
        """The sink that records content as well, for `otel:content`.

        Raises:
            ConfigError: The argument is another.
        """
        if argument != "content":
            raise ConfigError(
                f"the sink 'otel' does not know the argument {argument!r}; write 'otel', or 'otel:content' for spans "
                f"that say what was said"
            )
        return OtelSink(content=True, tracer_provider=self._traces, meter_provider=self._meters)

    def context_of(self, run_id: str, call_id: str | None = None) -> opentelemetry.context.Context:
        """OpenTelemetry's current context with the span of a run, or of one of its tool calls, in it.

        For spans that are to be below that one: `tracer.start_as_current_span("...", context=...)`, in a tool with the
        `run_id` and `call_id` of its `ToolContext`. Where there is no such span now, the context as it is.
        """
        from opentelemetry.context import get_current
        from opentelemetry.trace import set_span_in_context

        span = self._open.get((run_id, call_id))
        return get_current() if span is None else set_span_in_context(span)

    def _says_content(self) -> bool:
        if self._content is not None:
            return self._content
        return os.environ.get(names.CAPTURE, "").strip().lower() in names.CAPTURES


class _Nothing:
    """Observes nothing."""

    def emit(self, event: Event, /) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


_NOTHING = _Nothing()
