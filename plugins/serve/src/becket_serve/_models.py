"""The bodies of the server's own requests. Imported when one is looked at: pydantic takes 100 ms."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

__all__ = ["Prompted", "Started"]


class Prompted(BaseModel):
    """A prompt for an agent."""

    model_config = ConfigDict(extra="forbid")

    prompt: str
    agent: str | None = None
    session_id: str | None = None


class Started(Prompted):
    """A run to be started."""

    detach: bool = False
