"""becket-otel: the sink `otel`, which makes spans and metrics of runs, as OpenTelemetry has them for generative AI."""

from __future__ import annotations

from typing import TYPE_CHECKING

from becket import hookimpl

from becket_otel._sink import OtelSink, Settings

if TYPE_CHECKING:
    from becket import Sink

__all__ = ["OtelSink", "Settings", "declare_config", "register_sinks"]


@hookimpl
def declare_config() -> type[Settings]:
    """The table `[plugins.otel]`."""
    return Settings


@hookimpl
def register_sinks(config: Settings) -> list[Sink]:
    """The sink `otel`; `otel:content` records what was said, too."""
    return [OtelSink(content=config.content)]
