"""`becket serve`: an agent, served until it is stopped."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from becket import Agent, ConfigError, KeyedProvider, Runtime, load_config

if TYPE_CHECKING:
    from collections.abc import Iterator

    from becket_serve._settings import Settings

__all__ = ["serve_command"]

_TOKEN: Final = "BECKET_SERVE_TOKEN"  # noqa: S105  the name of a variable

_LARGEST: Final = 1_000_000
"""Bytes of a file of tokens that are read."""


def serve_command(settings: Settings) -> click.Command:
    """The command.

    Args:
        settings: The user's `[plugins.serve]`.
    """

    @click.command("serve")
    @click.option("-m", "--model", metavar="PROVIDER[:MODEL]", help="The model. Default: as for 'becket run'.")
    @click.option("-t", "--tool", "tools", metavar="NAME[,NAME]", multiple=True, help="Grant a tool. Repeatable.")
    @click.option("--system", metavar="TEXT", help="Instructions for the model.")
    @click.option("--name", metavar="TEXT", default="agent", help="What clients call the agent. Default: agent.")
    @click.option("--host", metavar="ADDRESS", default="127.0.0.1", help="Where to listen. Default: 127.0.0.1.")
    @click.option("--port", metavar="N", type=click.IntRange(0, 65535), default=8000, help="0: any. Default: 8000.")
    @click.option("--token-file", metavar="FILE", type=click.Path(), help="Bearer tokens for clients, one a line.")
    @click.option(
        "--allow-host", "hosts", metavar="NAME", multiple=True, help="A name that clients call it by. Repeatable."
    )
    @click.option(
        "--allow-origin", "origins", metavar="URL", multiple=True, help="A site whose pages may call it. Repeatable."
    )
    def serve(**given: Any) -> None:
        """Serve an agent over HTTP, in every format that is installed, until Ctrl-C.

        The first Ctrl-C lets runs finish for a while and then cancels them; the second one ends at once.

        The agent has the tools that -t names, and no others. Clients are asked before a tool that may change something
        is called, where their format can ask them; where it cannot, the call is denied.

        A server that others than this machine can reach needs tokens: from --token-file, from the variable
        BECKET_SERVE_TOKEN, or from 'tokens' under [plugins.serve] in your configuration.

        The signal SIGUSR1 has it make the agent anew, of the plugins and the configuration that are there then: new
        runs take it, and runs that go on keep theirs. Wires have their routes from the start, so a new one needs a
        restart.
        """
        _serve(settings, given)

    return serve


def _serve(settings: Settings, given: dict[str, Any]) -> None:
    tokens = [*(settings.tokens or ()), *_tokens(given["token_file"])]
    if settings.tokens is not None and not tokens:
        raise ConfigError(
            "'tokens' under [plugins.serve] has no token in it, so anybody could use the agent and its tools; set the "
            "environment variables that it names, or take it out of your configuration"
        )
    with _listening(given["host"], given["port"]) as sockets:
        address = sockets[0].getsockname()
        if not tokens and not all(_is_loopback(one) for one in sockets):
            raise ConfigError(
                f"{given['host']!r} can be reached from other machines, and there is no token, so anybody there could "
                f"use the agent and its tools; give --token-file, or set {_TOKEN} or 'tokens' under [plugins.serve], "
                f"or listen on 127.0.0.1"
            )
        agent = _agent(given)
        from becket_serve._app import app, served
        from becket_serve._server import Server

        application = app(
            agent,
            tokens=tokens,
            hosts=[*settings.hosts, *given["hosts"]],
            origins=[*settings.origins, *given["origins"]],
            limits=settings.limits,
        )
        server = Server(application, renewed=lambda: _agent(given, before=agent))
        host = f"[{address[0]}]" if ":" in address[0] else address[0]
        where = f"http://{host}:{address[1]} ({served(application).places})"
        click.echo(f"becket: {agent.name} ({agent.model}) is served at {where}", err=True)
        server.run(sockets=sockets)


def _agent(given: dict[str, Any], *, before: Agent | None = None) -> Agent:
    """The agent; one that comes after another has its sessions.

    Raises:
        BecketError: It cannot be made, or its model has no key, so that each request would fail, and not the start.
    """
    store = None if before is None else before.runtime.session_store
    with contextlib.redirect_stdout(sys.stderr):  # plugins may print while they are imported
        runtime = Runtime(config=load_config(), session_store=store)
    for plugin in () if before is None else runtime.plugins:  # at first the command line has said it
        if plugin.status == "quarantined" and not isinstance(plugin.error, ConfigError):
            click.echo(f"becket: plugin {plugin.name!r} ({plugin.title}) is left out: {plugin.reason}", err=True)
    config = runtime.config
    tools = [name.strip() for value in given["tools"] for name in value.split(",") if name.strip()]
    provider, _ = runtime.model(given["model"])
    if isinstance(provider, KeyedProvider):
        provider.check_key()
    return Agent(
        given["model"],
        tools,
        name=given["name"],
        system_prompt=config.system_prompt if given["system"] is None else given["system"],
        approver="reader",
        runtime=runtime,
    )


def _tokens(path: str | None) -> list[str]:
    """The tokens that are given besides those of the configuration.

    Raises:
        ConfigError: The file cannot be read, or has none; or the variable is set to nothing.
    """
    told = os.environ.get(_TOKEN)
    if told is not None and not told.strip():  # as when it was made of another one that is not there
        raise ConfigError(
            f"{_TOKEN} is set and empty, so anybody could use the agent and its tools; give it a token, or unset it"
        )
    tokens = [] if told is None else [told.strip()]
    if path is None:
        return tokens
    try:
        with Path(path).open("rb") as file:
            lines = file.read(_LARGEST).decode().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text in UTF-8"
        raise ConfigError(
            f"the tokens in {path!r} cannot be read: {reason}; mend that, or give another file"
        ) from error
    found = [token for line in lines if (token := line.strip()) and not token.startswith("#")]
    if not found:
        raise ConfigError(f"there is no token in {path!r}; write one in each line")
    return [*tokens, *found]


@contextlib.contextmanager
def _listening(host: str, port: int) -> Iterator[list[socket.socket]]:
    """Sockets that listen on every address that a name has on this machine.

    Raises:
        ConfigError: One cannot, or there is none.
    """
    with contextlib.ExitStack() as stack:
        sockets: list[socket.socket] = []
        absent: list[ConfigError] = []
        for family, address in _addresses(host):
            try:
                made = socket.create_server((address, port), family=family)
            except OSError as error:
                refused = ConfigError(f"cannot listen on {address} at port {port}: {_why(error)}")
                if error.errno not in _NOT_HERE:
                    raise refused from error
                absent.append(refused)  # as `::1`, which `localhost` means too, where there is no IPv6
                continue
            sockets.append(stack.enter_context(made))
            port = made.getsockname()[1]
        if not sockets:
            raise absent[0]
        yield sockets


_NOT_HERE: Final = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}


def _addresses(host: str) -> list[tuple[socket.AddressFamily, str]]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"cannot listen on {host!r}: {reason}; give an address of this machine") from error
    return list(dict.fromkeys((family, str(place[0])) for family, _, _, _, place in found))


def _why(error: OSError) -> str:
    what = {
        errno.EADDRINUSE: "another program listens there; stop it, or give another --port (0 for any)",
        errno.EACCES: "this user may not; give a --port from 1024",
        errno.EADDRNOTAVAIL: "this machine has no such address; give another --host",
    }
    return what.get(error.errno or 0) or f"{error.strerror or error}; give another --host or --port"


def _is_loopback(listening: socket.socket) -> bool:
    return ipaddress.ip_address(listening.getsockname()[0].partition("%")[0]).is_loopback
