"""Every name that leaves this package, and where it comes from.

The names of `gen_ai` are those of the semantic conventions v1.41.0 for generative AI, the last ones that
were published: https://github.com/open-telemetry/semantic-conventions/tree/v1.41.0/docs/gen-ai, looked up on
2026-11-24. They are in development. What comes after them is written in another repository,
https://github.com/open-telemetry/semantic-conventions-genai, which had no release then. Its migration guide has these
that concern us: `gen_ai.usage.cache_creation.*` becomes `cache_write`; `gen_ai.client.operation.*` becomes
`gen_ai.client.inference.*`; `gen_ai.client.token.usage` becomes counters, `gen_ai.client.inference.usage.*`;
`gen_ai.provider.name` goes from the spans of agents.

The names of `becket` are our own, for what the conventions have no word for.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

SCOPE: Final = "becket_otel"
"""The name of the tracer and of the meter."""

VERSION: Final = "0.1.0"
"""Of this package."""

SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.41.0"

# -- attributes --------------------------------------------------------------------------------------------------------

OPERATION: Final = "gen_ai.operation.name"
PROVIDER: Final = "gen_ai.provider.name"
AGENT: Final = "gen_ai.agent.name"
CONVERSATION: Final = "gen_ai.conversation.id"
REQUEST_MODEL: Final = "gen_ai.request.model"
REQUEST_STREAM: Final = "gen_ai.request.stream"
RESPONSE_MODEL: Final = "gen_ai.response.model"
RESPONSE_ID: Final = "gen_ai.response.id"
FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"
INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
CACHED_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"
REASONING_TOKENS: Final = "gen_ai.usage.reasoning.output_tokens"
TOOL: Final = "gen_ai.tool.name"
TOOL_TYPE: Final = "gen_ai.tool.type"
TOOL_CALL: Final = "gen_ai.tool.call.id"
TOKEN_TYPE: Final = "gen_ai.token.type"  # noqa: S105  input or output
ERROR: Final = "error.type"

# What was said: only where it is asked for.
INPUT_MESSAGES: Final = "gen_ai.input.messages"
OUTPUT_MESSAGES: Final = "gen_ai.output.messages"
TOOL_ARGUMENTS: Final = "gen_ai.tool.call.arguments"
TOOL_RESULT: Final = "gen_ai.tool.call.result"

RUN: Final = "becket.run.id"
CYCLE: Final = "becket.cycle"
CYCLES: Final = "becket.cycles"
ATTEMPT: Final = "becket.attempt"
STOP_REASON: Final = "becket.stop_reason"
COST: Final = "becket.cost"
CONFIDENCE: Final = "becket.confidence"
TOOL_STATUS: Final = "becket.tool.status"
ERROR_REQUEST: Final = "becket.error.request_id"
DECISION: Final = "becket.decision.request_id"
DECISION_KIND: Final = "becket.decision.kind"
DECISION_OUTCOME: Final = "becket.decision.outcome"
DECISION_BY: Final = "becket.decision.by"
DECISION_WHY: Final = "becket.decision.why"
RETRY_DELAY: Final = "becket.retry.delay"
RETRY_ATTEMPT: Final = "becket.retry.attempt"
RETRY_REASON: Final = "becket.retry.reason"
PLUGIN: Final = "becket.plugin"
PLUGIN_HOOK: Final = "becket.plugin.hook"

# -- events of spans ---------------------------------------------------------------------------------------------------

DECISION_REQUESTED: Final = "becket.decision_requested"
DECISION_MADE: Final = "becket.decision_made"
RETRY_SCHEDULED: Final = "becket.retry_scheduled"
TOOL_REFUSED: Final = "becket.tool_refused"
PLUGIN_FAILED: Final = "becket.plugin_failed"

# -- values ------------------------------------------------------------------------------------------------------------

INVOKE_AGENT: Final = "invoke_agent"
CHAT: Final = "chat"
EXECUTE_TOOL: Final = "execute_tool"
FUNCTION: Final = "function"
INPUT: Final = "input"
OUTPUT: Final = "output"
OTHER: Final = "_OTHER"
"""The `error.type` where nothing better is known."""
TOOL_ERROR: Final = "tool_error"
"""That of a call whose result says that it failed: what failed is in the result, which is content."""

FINISH: Final[Mapping[str, str]] = MappingProxyType(
    {
        "end_turn": "stop",
        "stop_sequence": "stop",
        "max_tokens": "length",
        "content_filtered": "content_filter",
        "tool_use": "tool_call",
    }
)
"""The conventions' words for why a model stopped; the others are becket's."""

PROVIDERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "azure": "azure.ai.openai",
        "bedrock": "aws.bedrock",
        "google": "gcp.gen_ai",  # the Gemini API or Vertex AI: a run does not say which
        "mistral": "mistral_ai",
        "xai": "x_ai",
    }
)
"""The conventions' names for providers that have other names here; the others keep their own."""

# -- metrics: name, unit, description, and the limits of the buckets ---------------------------------------------------

TOKEN_USAGE: Final = "gen_ai.client.token.usage"  # noqa: S105  a count of tokens
TOKEN_BUCKETS: Final = tuple(4**power for power in range(14))
OPERATION_DURATION: Final = "gen_ai.client.operation.duration"
DURATION_BUCKETS: Final = tuple(0.01 * 2**power for power in range(14))
TIME_TO_FIRST_CHUNK: Final = "gen_ai.client.operation.time_to_first_chunk"
FIRST_CHUNK_BUCKETS: Final = (
    0.001,
    0.005,
    0.01,
    0.02,
    0.04,
    0.06,
    0.08,
    0.1,
    0.25,
    0.5,
    0.75,
    1.0,
    2.5,
    5.0,
    7.5,
    10.0,
)

# -- the environment ---------------------------------------------------------------------------------------------------

CAPTURE: Final = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
"""The variable of OpenTelemetry's own instrumentations (opentelemetry-util-genai 0.2b0) that asks for content."""

CAPTURES: Final = frozenset({"true", "1", "span_only", "span_and_event"})
"""Its values that ask for content in spans. `no_content`, `event_only` and `false` do not."""

CHOOSES: Final = ("OTEL_PYTHON_TRACER_PROVIDER", "OTEL_PYTHON_METER_PROVIDER")
"""Variables by which the API finds a provider that nobody has set in code."""
