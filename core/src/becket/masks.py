"""What a mask implements: it replaces what must not be seen, such as keys and passwords, in the text of a run.

All text of every event passes through the masks of the run's runtime before the event is folded into the history,
logged, and shown to sinks, to the callback handler and to the reader. The masks that plugins give in `register_masks`
are active in every run: to install such a plugin, and not to block it, is to switch it on.

So the history is masked as well, and with it what the model is sent next. A tool gets its arguments as they stand in
the history, which is masked; a hook `before_tool_call` may put a real secret into the call that is made, which is
shown masked in `tool_started`, and whose result is masked like every other.

Masked are: the prompt; deltas, and the messages made of them; the arguments of tool calls, what tools report and
return; what is asked and decided; errors; what plugins say; the output; what a provider keeps for its service
(`Extension`). In JSON values that means keys (where two become alike, the last stays), strings, and numbers as they are
written. Left alone are: ids, and the names of agents, models, plugins and of tools that are there; the signature and
the encrypted part of reasoning; the base64 data of images and documents. The seal on a reasoning block that was changed
is left out, since it would not fit.

No text of an event, and so not masked, are: the system prompt and the history that the host gives, which are sent as
they are; the exception that is raised at the host after `run_failed`; what is written to the standard logger.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn, Protocol, runtime_checkable

from becket.errors import ConfigError

__all__ = ["Mask", "MaskStream", "Refusal"]


class MaskStream(Protocol):
    """Masks one text that comes in fragments, such as a block of a model's answer. Used once."""

    def feed(self, fragment: str, /) -> str:
        """The text that may be shown now that `fragment` has come; may be empty.

        What can still become a part of a secret is held back until that is decided; nothing else is. What is held back
        has a bound, and text beyond it is masked, not shown.
        """
        ...

    def end(self) -> str:
        """What was held back, masked: the text is over."""
        ...


@runtime_checkable
class Mask(Protocol):
    """Replaces what must not be seen.

    It is asked for every text of every run, on the event loop: it must be quick, and must not block. Its first call
    may take longer. If it raises, or returns no text, it fails closed: the event is shown with `[withheld]` in place
    of its texts, and the run fails with a `PluginError`. That error, which everybody sees, quotes only what the mask
    has raised as a `BecketError`; of any other exception it names the class.

    What replaces a secret has no quotes, backslashes or control characters in it: the arguments of a tool call are
    masked while they are the text of a JSON object.

    Attributes:
        name: Letters, digits, `-` and `_`.
    """

    if TYPE_CHECKING:  # only read, so that a constant or a frozen field will do

        @property
        def name(self) -> str:
            """As said above."""
            ...

    else:
        name: str

    def mask(self, text: str, /) -> str:
        """`text` without its secrets; the same text where there are none. What stands for a secret is itself none."""
        ...

    def open(self) -> MaskStream:
        """What masks a text that comes in fragments.

        However the text is cut, what the stream shows, put together, is what `mask` makes of the whole; only a secret
        longer than what the stream may hold back can become more `mask`, never less.
        """
        ...


class Refusal:
    """Stands for the masks of a plugin that has some and cannot be used: no run goes on without them.

    Attributes:
        reason: Why it cannot be used.
    """

    name = "refusal"

    def __init__(self, reason: str) -> None:
        self.reason = reason

    def mask(self, _text: str, /) -> NoReturn:
        """Refuse.

        Raises:
            ConfigError: Always.
        """
        raise ConfigError(self.reason)

    def open(self) -> NoReturn:
        """Refuse, as `mask`."""
        self.mask("")
