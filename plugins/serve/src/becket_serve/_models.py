"""The bodies of the server's own requests. Imported when one is looked at: pydantic takes 100 ms."""

from __future__ import annotations

from typing import Any, Literal

from becket.policies import Allow, Answer, Deny, Edit
from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

__all__ = ["Decision", "Prompted", "Started"]


class Prompted(BaseModel):
    """A prompt for an agent."""

    model_config = ConfigDict(extra="forbid")

    prompt: str = Field(description="What the agent is asked.", min_length=1)
    agent: str | None = Field(None, description="The agent's name; the server's first one unless it is given.")
    session_id: str | None = Field(
        None, description="The client's own name for the conversation that the run goes on with."
    )


class Started(Prompted):
    """A run to be started."""

    detach: bool = Field(False, description="Whether the run goes on when the client goes away.")


class Decision(BaseModel):
    """What becomes of a tool call that was asked about."""

    model_config = ConfigDict(extra="forbid")

    request_id: str = Field(description="That of the `decision_requested` event.")
    outcome: Literal["allow", "deny", "edit"]
    reason: str = Field("", description="Why. With `deny`, the model reads it.")
    arguments: dict[str, JsonValue] | None = Field(
        None, description="With `edit`, and only then: all arguments that the call is made with instead."
    )

    @model_validator(mode="after")
    def _check_arguments(self) -> Decision:
        if (self.outcome == "edit") != (self.arguments is not None):
            raise ValueError("`arguments` go with the outcome `edit`, and with no other")
        return self

    def answer(self) -> Answer:
        """The same in becket's terms."""
        if self.outcome == "allow":
            return Allow(self.reason)
        if self.outcome == "deny":
            return Deny(self.reason or "whoever was asked has said no")
        arguments: Any = self.arguments
        return Edit(arguments, self.reason)
