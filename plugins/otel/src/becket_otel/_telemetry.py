"""What a run is told to: a tracer and the instruments, or nothing where nobody has set up OpenTelemetry."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from becket_otel import _names as names

if TYPE_CHECKING:
    from opentelemetry.metrics import Histogram, MeterProvider
    from opentelemetry.trace import Tracer, TracerProvider

__all__ = ["Telemetry", "current"]


@dataclass(frozen=True, slots=True)
class Telemetry:
    """Where spans and measurements go.

    Attributes:
        providers: Whose they are.
        tracer: Makes the spans.
        tokens: `gen_ai.client.token.usage`.
        duration: `gen_ai.client.operation.duration`.
        first_chunk: `gen_ai.client.operation.time_to_first_chunk`.
    """

    providers: tuple[TracerProvider, MeterProvider]
    tracer: Tracer
    tokens: Histogram
    duration: Histogram
    first_chunk: Histogram


def current(
    traces: TracerProvider | None, meters: MeterProvider | None, before: Telemetry | None = None
) -> Telemetry | None:
    """Where they go now; None where nothing would keep them.

    Args:
        traces: The host's own provider, None for that of the process.
        meters: As above.
        before: What this gave last; given again where nothing has changed.
    """
    if traces is None and meters is None and not _is_in_use():
        return None
    from opentelemetry.metrics import get_meter_provider
    from opentelemetry.trace import get_tracer_provider

    providers = (traces or get_tracer_provider(), meters or get_meter_provider())
    if all(map(_is_stand_in, providers)):
        return None
    if before is not None and all(one is other for one, other in zip(before.providers, providers, strict=True)):
        return before
    return _made(providers)


def _is_in_use() -> bool:
    """Whether anybody can have set a provider: without an import of the API, which takes 90 ms, nobody has."""
    return "opentelemetry.trace" in sys.modules or any(name in os.environ for name in names.CHOOSES)


def _is_stand_in(provider: object) -> bool:
    """Whether it is one of the API's own, which keep nothing; not all of them have public names."""
    return type(provider).__module__.startswith(("opentelemetry.trace", "opentelemetry.metrics"))


def _made(providers: tuple[TracerProvider, MeterProvider]) -> Telemetry:
    traces, meters = providers
    meter = meters.get_meter(names.SCOPE, names.VERSION, names.SCHEMA_URL)
    return Telemetry(
        providers,
        traces.get_tracer(names.SCOPE, names.VERSION, names.SCHEMA_URL),
        meter.create_histogram(
            names.TOKEN_USAGE,
            "{token}",
            "Number of input and output tokens used.",
            explicit_bucket_boundaries_advisory=names.TOKEN_BUCKETS,
        ),
        meter.create_histogram(
            names.OPERATION_DURATION,
            "s",
            "GenAI operation duration.",
            explicit_bucket_boundaries_advisory=names.DURATION_BUCKETS,
        ),
        meter.create_histogram(
            names.TIME_TO_FIRST_CHUNK,
            "s",
            "Time to receive the first chunk of a streamed answer.",
            explicit_bucket_boundaries_advisory=names.FIRST_CHUNK_BUCKETS,
        ),
    )
