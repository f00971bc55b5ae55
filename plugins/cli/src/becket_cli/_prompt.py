"""The prompt: an argument, or what comes in on standard input."""

from __future__ import annotations

import sys

import click

__all__ = ["read_prompt"]


def read_prompt(argument: str | None) -> str:
    """The prompt; standard input is read to its end for `-`, and for no argument where it is no terminal.

    Raises:
        click.UsageError: There is none, or what came in is no text.
    """
    if argument is None and _is_terminal():
        raise click.UsageError("There is no prompt. Give it as an argument, or pipe it in.")
    prompt = _read() if argument in {None, "-"} else str(argument)
    if not prompt.strip():
        where = "that came in on standard input" if argument in {None, "-"} else "given"
        raise click.UsageError(f"The prompt {where} is empty.")
    return prompt


def _is_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


def _read() -> str:
    if sys.stdin is None:
        raise click.UsageError("There is no prompt: standard input is closed. Give it as an argument.")
    try:
        raw = sys.stdin.buffer.read()
    except OSError as error:
        raise click.UsageError(f"The prompt cannot be read from standard input: {error.strerror}.") from error
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise click.UsageError(
            f"Standard input is no text in UTF-8: byte 0x{raw[error.start]:02x} at offset {error.start}."
        ) from error
    if "\0" in text:
        raise click.UsageError(f"Standard input is no text: it has a NUL byte at offset {raw.index(0)}.")
    return text.removesuffix("\n").removesuffix("\r")  # `echo hi |` asks what `hi` as an argument does
