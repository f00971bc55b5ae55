"""The span of one model call, and what is measured of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from opentelemetry.trace import SpanKind, Status, StatusCode

from becket_otel import _names as names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from becket import ModelFinished, ModelStarted, Usage
    from opentelemetry.context import Context
    from opentelemetry.util.types import AttributeValue

    from becket_otel._telemetry import Telemetry

__all__ = ["Chat", "error_type_of", "of_model", "of_usage"]

_FINE: Final = frozenset({"end_turn", "max_tokens", "stop_sequence", "content_filtered", "tool_use", "interrupted"})
"""Stop reasons of what has come to its end, `interrupted` among them: that run waits for a decision."""


def error_type_of(stop_reason: str) -> str | None:
    """The `error.type` of what has ended with this stop reason; None where nothing is wrong."""
    return None if stop_reason in _FINE else stop_reason


class Chat:
    """One model call: its span ends once its message is there, and says when the call ended.

    Args:
        telemetry: Where the span and what is measured go.
        event: Its beginning.
        context: That of the span above.
        more: Attributes of the span that are not about the call.

    Attributes:
        span: Its span.
        finish_reason: Why the model stopped, in the conventions' words; empty while it goes on.
    """

    __slots__ = ("_began", "_ended", "_error", "_model", "_telemetry", "finish_reason", "span")

    def __init__(
        self, telemetry: Telemetry, event: ModelStarted, context: Context, more: Mapping[str, AttributeValue]
    ) -> None:
        self._telemetry = telemetry
        self._began = int(event.time * 1e9)
        self._ended = 0
        self._error: str | None = None
        self._model = {**of_model(event.model), names.OPERATION: names.CHAT}
        self.finish_reason = ""
        self.span = telemetry.tracer.start_span(
            f"{names.CHAT} {event.model.partition(':')[2]}",
            context,
            SpanKind.CLIENT,
            {
                **self._model,
                names.REQUEST_STREAM: True,
                names.CYCLE: event.cycle,
                names.ATTEMPT: event.attempt,
                **more,
            },
            start_time=self._began,
        )

    @property
    def is_over(self) -> bool:
        """Whether it has ended, and not with an error that the run's end will name."""
        return self._ended > 0 and self._error != "error"

    def finished(self, event: ModelFinished, now: int) -> None:
        """Take down what the model has answered, but for the message."""
        self._ended = now
        self._error = error_type_of(event.stop_reason)
        self.finish_reason = names.FINISH.get(event.stop_reason, event.stop_reason)
        if event.model is not None:  # another than the one that was asked, maybe by another provider
            answered = of_model(event.model)
            self._model[names.PROVIDER] = answered[names.PROVIDER]
            self._model[names.RESPONSE_MODEL] = answered[names.REQUEST_MODEL]
        elif self._error is None:
            self._model[names.RESPONSE_MODEL] = self._model[names.REQUEST_MODEL]
        self.span.set_attributes(
            {**self._model, **of_usage(event.usage), **_of_answer(event), names.FINISH_REASONS: (self.finish_reason,)}
        )
        self._measure(event)

    def _measure(self, event: ModelFinished) -> None:
        if event.usage.total_tokens:
            for kind, tokens in ((names.INPUT, event.usage.input_tokens), (names.OUTPUT, event.usage.output_tokens)):
                self._telemetry.tokens.record(tokens, {**self._model, names.TOKEN_TYPE: kind})
        if event.first_token_s is not None:
            self._telemetry.first_chunk.record(event.first_token_s, self._model)

    def end(self, now: int = 0, error: str | None = None, why: str = "") -> None:
        """End the span.

        Args:
            now: When the call ended, in ns, where no `model_finished` has said so.
            error: What went wrong, where that is not the stop reason.
            why: The same for a person to read.
        """
        ended = self._ended or now
        if self._ended and self._error != "error":  # what has ended the run was not this call
            error, why = self._error, f"ended with {self._error}"
        about = self._model
        if error is not None:
            about = {**about, names.ERROR: error}
            self.span.set_attribute(names.ERROR, error)
            self.span.set_status(Status(StatusCode.ERROR, why))
        self._telemetry.duration.record((ended - self._began) / 1e9, about)
        self.span.end(ended)


def of_model(model: str) -> dict[str, AttributeValue]:
    """The attributes that name a model, of `provider:model`."""
    provider, _, name = model.partition(":")
    return {names.PROVIDER: names.PROVIDERS.get(provider, provider), names.REQUEST_MODEL: name}


def of_usage(usage: Usage) -> dict[str, AttributeValue]:
    """The attributes that count tokens; none where the service does not count, and gives zeros."""
    if not usage.total_tokens:
        return {}
    about: dict[str, AttributeValue] = {
        names.INPUT_TOKENS: usage.input_tokens,
        names.OUTPUT_TOKENS: usage.output_tokens,
    }
    if usage.cached_tokens:
        about[names.CACHED_TOKENS] = usage.cached_tokens
    if usage.reasoning_tokens:
        about[names.REASONING_TOKENS] = usage.reasoning_tokens
    return about


def _of_answer(event: ModelFinished) -> dict[str, AttributeValue]:
    about = {
        names.RESPONSE_ID: event.response_id,
        names.FIRST_CHUNK: event.first_token_s,
        names.COST: event.cost,
        names.CONFIDENCE: event.confidence,
    }
    return {name: value for name, value in about.items() if value is not None}
