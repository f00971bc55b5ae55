"""The programs of the pages on host applications, each as it stands on its page, behind the server that it is for."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import anyio
import httpx2
import pytest
import uvicorn
from aiohttp import web
from anyio.lowlevel import checkpoint
from becket import TextDelta
from becket.testing import ScriptedProvider, text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator

    from becket import ModelRequest
    from becket.testing import Step

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.parametrize("anyio_backend", ["asyncio"]),  # where uvicorn, aiohttp, Django and Jupyter live
]

PAGES = Path(__file__).resolve().parent.parent / "docs" / "how-to"
PATIENCE = 30.0  # seconds; a test that is about to fail waits no longer


class Model:
    """What takes the place of a page's model: it stops in the middle until it is let go.

    Attributes:
        waits: Set while it has sent the first of its text and nothing more.
        go: Lets it go on.
        cleaned: Set once it has ended, however it has.
    """

    def __init__(self) -> None:
        self.waits, self.go, self.cleaned = anyio.Event(), anyio.Event(), anyio.Event()
        self.provider = ScriptedProvider(self.script)

    def script(self, request: ModelRequest) -> Iterable[Step]:
        if request.messages[-1].text == "flood":
            return self.flood()
        first, last, end = text("first ", "last")
        return [first, self.hold, last, end]

    async def hold(self) -> None:
        self.waits.set()
        try:
            await self.go.wait()
        finally:
            self.cleaned.set()

    def flood(self) -> Iterator[Step]:
        """Text without an end; the pieces come one by one, as from a network."""
        try:
            while True:
                yield checkpoint
                yield TextDelta("x" * 10_000)
        finally:
            self.cleaned.set()


def blocks(page: str, language: str = "python") -> list[str]:
    said = (PAGES / f"{page}.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", said, re.DOTALL | re.MULTILINE)


def program(page: str) -> Any:
    """The program of a page, as a module; its second where that is what the page's name ends with."""
    page, _, second = page.partition(" ")
    name = f"{page}_page"
    if page == "django" and name in sys.modules:  # which is set up once in a process
        return sys.modules[name]
    sys.modules[name] = module = ModuleType(name)  # where pydantic and Django look for what is in it
    exec(blocks(page)[1 if second else 0], module.__dict__)  # noqa: S102  our own words
    return module


@asynccontextmanager
async def behind_uvicorn(module: Any) -> AsyncIterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(module.app, log_level="warning"))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.serve, [listening])
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
            server.should_exit = True


@asynccontextmanager
async def behind_aiohttp(module: Any) -> AsyncIterator[str]:
    """The runner of aiohttp, with the options that the page's `main` gives it, but for the port."""
    options: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(web, "run_app", lambda app, **given: options.update(given, app=app))
        module.main()
    options.pop("port")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        runner = web.AppRunner(options.pop("app"), shutdown_timeout=1, **options)
        await runner.setup()
        await web.SockSite(runner, listening).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        await runner.cleanup()


HOSTS = {
    "fastapi": behind_uvicorn,
    "fastapi second": behind_uvicorn,
    "starlette": behind_uvicorn,
    "django": behind_uvicorn,
    "aiohttp": behind_aiohttp,
}


@asynccontextmanager
async def served(page: str, model: Model, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of the page's program, whose agent has this model."""
    module = program(page)
    monkeypatch.setattr(module, "agent", module.agent.replace(model=model.provider))
    with anyio.fail_after(PATIENCE):
        async with HOSTS[page](module) as url, httpx2.AsyncClient(base_url=url, trust_env=False) as client:
            yield client


def said(body: str) -> str:
    """The text, whether it came as such or as server-sent events."""
    return body.replace("data: ", "").replace("\n\n", "")


@pytest.mark.parametrize("page", HOSTS)
async def test_the_first_text_arrives_before_the_last_is_made(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Model()
    async with (
        served(page, model, monkeypatch) as client,
        client.stream("POST", "/stream", json={"prompt": "Hello"}) as answer,
    ):
        assert answer.headers["content-type"].startswith("text/")
        pieces = answer.aiter_text()
        first = await anext(pieces)
        assert said(first) == "first "
        await model.waits.wait()
        model.go.set()
        assert said("".join([piece async for piece in pieces])) == "last"


@pytest.mark.parametrize("page", HOSTS)
async def test_a_client_that_goes_away_ends_the_run(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while the model sends nothing."""
    model = Model()
    async with served(page, model, monkeypatch) as client:
        async with client.stream("POST", "/stream", json={"prompt": "Hello"}) as answer:
            assert said(await anext(answer.aiter_text())) == "first "
            await model.waits.wait()
        await model.cleaned.wait()
    assert not model.go.is_set()


@pytest.mark.parametrize("page", HOSTS)
async def test_a_client_that_goes_away_while_text_flows_ends_the_run(
    page: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Model()
    async with served(page, model, monkeypatch) as client:
        async with client.stream("POST", "/stream", json={"prompt": "flood"}) as answer:
            assert said(await anext(answer.aiter_text())).startswith("x")
        await model.cleaned.wait()


async def run(shell: Any, cell: str) -> None:
    ran = await shell.run_cell_async(cell, transformed_cell=shell.transform_cell(cell))
    ran.raise_error()


class TestANotebook:
    """IPython runs the cells, as it does in Jupyter."""

    @pytest.fixture
    def shell(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
        monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
        from IPython.core.interactiveshell import InteractiveShell
        from traitlets.config import Config

        config = Config()
        config.HistoryManager.enabled = False
        return InteractiveShell(config=config)

    async def test_its_cells_print_the_answer(self, shell: Any, capsys: pytest.CaptureFixture[str]) -> None:
        """The sync call as well, in the loop that runs."""
        for cell in blocks("notebook", "ipython"):
            await run(shell, cell)
            assert capsys.readouterr().out.strip() == "Hello, world."

    async def test_text_appears_as_it_comes_and_an_interrupted_cell_ends_its_run(
        self, shell: Any, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """What Jupyter does to interrupt a cell is to cancel its task."""
        model = Model()
        shell.user_ns["model"] = model.provider
        cell = blocks("notebook", "ipython")[0].replace(
            "async with", "agent = agent.replace(model=model)\n\nasync with", 1
        )
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(run, shell, cell)
                await model.waits.wait()
                assert capsys.readouterr().out == "first "
                tasks.cancel_scope.cancel()
            await model.cleaned.wait()


INTERRUPTED = """
import asyncio, sys
from types import ModuleType
from becket.testing import ScriptedProvider, text

async def hold():
    try:
        await asyncio.Event().wait()
    finally:
        print("cleaned up", file=sys.stderr, flush=True)

page = ModuleType("page")
exec(sys.argv[1], page.__dict__)
first, end = text("first ")
page.agent = page.agent.replace(model=ScriptedProvider([first, hold, end]))
asyncio.run(page.main())
"""


async def test_ctrl_c_ends_the_run_of_a_script(tmp_path: Path) -> None:
    """What the model prints when it ends stands before Python's own KeyboardInterrupt."""
    command = [sys.executable, "-W", "error", "-c", INTERRUPTED, blocks("script")[0]]
    process = subprocess.Popen(  # noqa: ASYNC220, S603  our own words, and nothing else runs in this loop
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path, env={**os.environ}
    )
    try:
        assert process.stdout is not None
        assert process.stdout.read(6) == b"first "
        process.send_signal(signal.SIGINT)
        errors = process.communicate(timeout=PATIENCE)[1].decode().splitlines()
    finally:
        process.kill()
        process.communicate()
    assert errors[0] == "cleaned up"
    assert errors[-1] == "KeyboardInterrupt"
