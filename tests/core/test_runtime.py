"""The runtime: which model, sink and log are used, and the block in which it is the home of its runs."""

from __future__ import annotations

import functools
import logging
import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import becket.runtime
import pytest
from becket import (
    Agent,
    Backoff,
    ConfigError,
    MemoryLog,
    ModelInfo,
    PluginError,
    ProviderError,
    Runtime,
    Text,
    ToolFinished,
    default_runtime,
    hookimpl,
    set_default_runtime,
    tool,
)
from becket.testing import ListSink, ScriptedProvider, calls, text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from becket import Provider, RunInfo, Sink


class Model(ScriptedProvider):
    """A provider that counts how often it was closed, and may fail at it."""

    def __init__(self, name: str = "model", model: str | None = "small", *, known: Sequence[str] = ()) -> None:
        super().__init__(text("hello"), name=name)
        self.default_model = model
        self.known = known
        self.closed = 0
        self.failure: BaseException | None = None

    def models(self) -> Sequence[ModelInfo]:
        return [ModelInfo(name) for name in self.known]

    async def aclose(self) -> None:
        self.closed += 1
        if self.failure is not None:
            raise self.failure


class Giving:
    """A plugin of the host with these providers and sinks."""

    def __init__(self, *providers: Provider, sinks: Sequence[Sink] = ()) -> None:
        self.providers = providers
        self.sinks = sinks

    @hookimpl
    def register_providers(self) -> Sequence[Provider]:
        return self.providers

    @hookimpl
    def register_sinks(self) -> Sequence[Sink]:
        return self.sinks


class Other(Giving):
    """The same, as a plugin of another name."""


def runtime_of(*providers: Provider, **options: Any) -> Runtime:
    return Runtime(plugins=[Giving(*providers)], discover=False, **options)


class Probe:
    """A tool that waits until it is cancelled, and then cleans up."""

    def __init__(self) -> None:
        self.started = anyio.Event()
        self.cleaned = False

        @tool
        async def probe() -> str:
            """Wait."""
            self.started.set()
            try:
                await anyio.sleep_forever()
            finally:
                with anyio.CancelScope(shield=True):
                    await anyio.lowlevel.checkpoint()
                self.cleaned = True
            return ""

        self.tool = probe

    def agent(self, runtime: Runtime) -> Agent:
        return Agent(ScriptedProvider(calls(("probe", {})), text("done")), [self.tool], runtime=runtime)


# -- which model -------------------------------------------------------------------------------------------------------


def test_a_model_is_named_with_its_provider() -> None:
    model = Model()
    assert runtime_of(model).model("model:large:v2") == (model, "large:v2")


def test_a_provider_alone_means_its_default_model() -> None:
    model = Model()
    runtime = runtime_of(model)
    assert runtime.model("model") == (model, "small")
    assert runtime.model("model:") == (model, "small")


def test_a_provider_without_a_default_needs_a_model_and_says_which_it_knows() -> None:
    asked = "^the provider 'model' has no default model; name one as 'model:<model>'"
    with pytest.raises(ConfigError, match=f"{asked}; it knows: small, large$"):
        runtime_of(Model(model=None, known=("small", "large"))).model("model")
    with pytest.raises(ConfigError, match=f"{asked}$"):
        runtime_of(Model(model=None)).model("model:")


def test_the_environment_names_the_model_where_the_caller_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = Model("one"), Model("two")
    monkeypatch.setenv("BECKET_MODEL", "two:big")
    runtime = runtime_of(one, two)
    assert runtime.model() == (two, "big")
    assert runtime.model("one") == (one, "small")
    assert Agent(runtime=runtime).model == "two:big"


def test_a_wrong_model_in_the_environment_says_where_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BECKET_MODEL", "modle:big")
    with pytest.raises(
        ConfigError, match=r"^BECKET_MODEL is 'modle:big': there is no provider 'modle'; did you mean 'model'\?"
    ):
        runtime_of(Model()).model()


@pytest.mark.parametrize("chosen", ["", None])
def test_the_one_provider_with_a_default_is_used_where_nobody_says(
    chosen: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BECKET_MODEL", "")
    local, remote = Model("local"), Model("remote", None)
    assert runtime_of(local, remote).model(chosen) == (local, "small")


def test_several_defaults_are_no_default_and_are_listed() -> None:
    with pytest.raises(
        ConfigError,
        match=r"several installed providers offer a default model; pass model='provider:model', or set BECKET_MODEL\. "
        r"Installed providers: one, two\.$",
    ):
        runtime_of(Model("one"), Model("two")).model()


def test_no_default_is_an_error_that_lists_what_is_installed() -> None:
    with pytest.raises(ConfigError, match=r"^no installed provider offers a default model.* Installed providers: x\.$"):
        runtime_of(Model("x", None)).model()
    with pytest.raises(ConfigError, match=r"Installed providers: none\. Install a plugin that has one"):
        Agent(runtime=runtime_of()).stream_async("hello")


def test_two_providers_of_one_name_are_told_apart_by_their_plugins() -> None:
    """Also where a plugin is called like its provider, as is usual."""
    one, two = Model("other"), Model("other")
    runtime = Runtime(plugins=[Giving(one), Other(two)], discover=False)
    with pytest.raises(ConfigError, match="name one as 'Giving:other', or block the other with -p no:Other"):
        runtime.model("other:big")
    assert runtime.model("Giving:other:big") == (one, "big")
    assert runtime.model("other:other:big") == (two, "big")
    assert runtime.model("Other:other") == (two, "small")


def test_a_model_called_like_a_provider_is_a_model() -> None:
    """The plugin's name is looked at only where the provider alone does not say enough."""
    model = Model("other")
    assert Runtime(plugins=[Other(model)], discover=False).model("other:other") == (model, "other")


def test_two_defaults_under_one_name_are_several() -> None:
    with pytest.raises(ConfigError, match="several installed providers offer"):
        Runtime(plugins=[Giving(Model("x")), Other(Model("x"))], discover=False).model()


# -- sinks, threads, logs ----------------------------------------------------------------------------------------------


class Path(ListSink):
    """A sink that takes an argument."""

    def with_argument(self, argument: str, /) -> ListSink:
        return ListSink(f"path to {argument}")


def test_a_sink_takes_what_follows_the_colon_as_its_argument() -> None:
    sink = Path("file")
    runtime = Runtime(plugins=[Giving(sinks=[sink])], discover=False)
    assert runtime.sink("file") is sink
    assert runtime.sink("file:C:\\out").name == "path to C:\\out"
    assert runtime.sink("file:").name == "path to "
    with pytest.raises(ConfigError, match="there is no sink 'fill'; did you mean 'file'"):
        runtime.sink("fill:a.txt")


def test_two_sinks_of_one_name_are_told_apart_by_their_plugins() -> None:
    one, two = Path("file"), Path("file")
    runtime = Runtime(plugins=[Giving(sinks=[one]), Other(sinks=[two])], discover=False)
    with pytest.raises(ConfigError, match="sink 'file' is provided by both"):
        runtime.sink("file:a.txt")
    assert runtime.sink("other:file") is two
    assert runtime.sink("giving:file:a.txt").name == "path to a.txt"


def test_the_sinks_of_a_runtime_are_objects_or_names() -> None:
    mine, theirs = ListSink("mine"), ListSink("theirs")
    runtime = Runtime(plugins=[Giving(sinks=[theirs])], discover=False, sinks=[mine, "theirs"])
    assert runtime.sinks == (mine, theirs)
    with pytest.raises(ConfigError, match="there is no sink 'nobodys'"):
        Runtime(discover=False, sinks=["nobodys"])
    with pytest.raises(
        ConfigError, match=r"<object object at .*> is no sink; it takes an object with what becket.Sink has"
    ):
        Runtime(discover=False, sinks=[object()])  # type: ignore[list-item]  # what is tested


def test_a_runtime_without_threads_for_sync_tools_is_refused() -> None:
    with pytest.raises(ConfigError, match="threads is 0; it must be 1 or above"):
        Runtime(discover=False, threads=0)


@pytest.mark.anyio
async def test_a_host_may_make_the_log_of_each_run() -> None:
    made: dict[str, MemoryLog] = {}

    def make_log(run: RunInfo) -> MemoryLog:
        return made.setdefault(run.run_id, MemoryLog())

    async with Agent(Model(), runtime=Runtime(discover=False, make_log=make_log)).stream_async("hello") as events:
        seen = [event async for event in events]
    assert made[events.run_id].after(0) == seen


# -- the default runtime -----------------------------------------------------------------------------------------------


@pytest.fixture
def no_default() -> Iterator[None]:
    """No default runtime, and afterwards the one that there was."""
    previous = set_default_runtime(None)
    yield
    set_default_runtime(previous)


@pytest.mark.usefixtures("no_default")
def test_the_default_runtime_is_built_once_on_first_use() -> None:
    assert becket.runtime._default is None  # nothing public could say that it is not built
    built = default_runtime()
    assert default_runtime() is built


@pytest.mark.usefixtures("no_default")
def test_a_plugin_that_asks_for_the_default_runtime_while_it_is_built_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one does whose agent names its tools; it would wait for itself for ever."""

    def discover() -> list[Any]:
        with pytest.raises(ConfigError, match="asked for while it is built; in a plugin, give an agent its tools as"):
            default_runtime()
        return []

    monkeypatch.setattr(becket.runtime, "_discover", discover)
    assert default_runtime() is default_runtime()


@pytest.mark.usefixtures("no_default")
def test_threads_that_ask_first_get_one_default_runtime() -> None:
    go, got = threading.Barrier(8), set()

    def ask() -> None:
        go.wait()
        got.add(id(default_runtime()))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == {id(default_runtime())}


@pytest.mark.usefixtures("no_default")
def test_a_host_may_replace_the_default_runtime_and_gets_the_earlier_one_back() -> None:
    mine, model = runtime_of(Model("mine")), Model("mine")
    assert set_default_runtime(mine) is None
    assert default_runtime() is mine
    assert Agent().model == "mine:small"
    assert set_default_runtime(runtime_of(model)) is mine
    assert set_default_runtime(None) is not None


# -- open --------------------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_leaving_cancels_the_runs_that_go_on_and_waits_until_they_have_cleaned_up() -> None:
    probes = [Probe(), Probe()]
    with anyio.fail_after(10):
        async with Runtime(discover=False) as runtime:
            streams = [probe.agent(runtime).stream_async("go") for probe in probes]
            for stream, probe in zip(streams, probes, strict=True):
                await stream.__aenter__()
                await probe.started.wait()
        assert [probe.cleaned for probe in probes] == [True, True]
        for stream in streams:
            assert [event async for event in stream][-1]["result"].stop_reason == "cancelled"


@pytest.mark.anyio
async def test_a_run_that_was_begun_but_has_not_taken_a_step_is_ended_too() -> None:
    probe = Probe()
    async with Runtime(discover=False) as runtime:
        stream = probe.agent(runtime).stream_async("go")
        await stream.__aenter__()
    assert [event async for event in stream][-1]["result"].stop_reason == "cancelled"


@pytest.mark.anyio
async def test_a_run_that_is_over_leaves_nothing_to_wait_for() -> None:
    async with runtime_of(Model()) as runtime:
        result = await Agent("model", runtime=runtime).invoke_async("hello")
    assert result.text == "hello"


@pytest.mark.anyio
async def test_what_the_block_raises_comes_out_as_it_is() -> None:
    """Not wrapped in an ExceptionGroup, and after the runs have cleaned up."""
    probe = Probe()

    async def host() -> None:
        async with Runtime(discover=False) as runtime:
            stream = probe.agent(runtime).stream_async("go")
            await stream.__aenter__()
            await probe.started.wait()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await host()
    assert probe.cleaned


@pytest.mark.anyio
async def test_a_cancelled_block_ends_its_runs_and_passes_the_cancellation_on() -> None:
    probe = Probe()
    with anyio.CancelScope() as scope:
        async with Runtime(discover=False) as runtime:
            stream = probe.agent(runtime).stream_async("go")
            await stream.__aenter__()
            await probe.started.wait()
            scope.cancel()
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert probe.cleaned
    await stream.aclose()


@pytest.mark.anyio
async def test_a_runtime_opens_once_at_a_time_on_a_loop_and_again_after_it_was_left() -> None:
    runtime = Runtime(discover=False)
    async with runtime:
        with pytest.raises(RuntimeError, match=r"open on this event loop already.* open it once"):
            await runtime.__aenter__()
    async with runtime as again:
        assert again is runtime


@pytest.mark.anyio
async def test_leaving_what_was_not_entered_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="is not open on this event loop; leave it where it was entered"):
        await Runtime(discover=False).__aexit__(None, None, None)


@pytest.mark.anyio
async def test_a_runtime_opened_in_one_loop_is_used_from_another() -> None:
    """The runs of the other loop are none of this block's: it neither holds nor ends them."""
    model = Model()
    async with runtime_of(model) as runtime:

        async def elsewhere() -> str:
            return (await Agent("model", runtime=runtime).invoke_async("hello")).text

        with anyio.fail_after(10):
            for backend in ("asyncio", "trio"):
                said = await anyio.to_thread.run_sync(functools.partial(anyio.run, elsewhere, backend=backend))
                assert said == "hello"
        assert model.closed == 0
    assert model.closed == 1


@pytest.mark.anyio
async def test_a_runtime_is_open_on_two_loops_at_once_and_each_ends_its_own() -> None:
    model, here = Model(), Probe()
    left_there: list[str] = []

    async def there(runtime: Runtime) -> None:
        probe = Probe()
        async with runtime:
            stream = probe.agent(runtime).stream_async("go")
            await stream.__aenter__()
            await probe.started.wait()
        left_there.append([event async for event in stream][-1]["result"].stop_reason)

    with anyio.fail_after(10):
        async with runtime_of(model) as runtime:
            stream = here.agent(runtime).stream_async("go")
            await stream.__aenter__()
            await here.started.wait()
            await anyio.to_thread.run_sync(lambda: anyio.run(there, runtime))
            cleaned_here = here.cleaned
            assert left_there == ["cancelled"]
            assert not cleaned_here
            assert model.closed == 1  # for the loop that was left
        assert here.cleaned
        assert model.closed == 2
        await stream.aclose()


@pytest.mark.anyio
async def test_every_provider_is_closed_once_even_if_one_fails(caplog: pytest.LogCaptureFixture) -> None:
    one, two, three = (Model(name) for name in ("one", "two", "three"))
    one.failure = OSError("stuck")
    async with Runtime(plugins=[Giving(one, two), Other(two, three)], discover=False):
        pass
    assert [model.closed for model in (one, two, three)] == [1, 1, 1]
    [record] = caplog.records
    assert record.getMessage() == "the provider 'one' failed to close; what it keeps open is left behind"
    assert record.exc_info is not None
    assert record.exc_info[1] is one.failure


@pytest.mark.anyio
async def test_providers_are_closed_where_the_block_was_cancelled() -> None:
    class Slow(Model):
        async def aclose(self) -> None:
            await anyio.lowlevel.checkpoint()  # where the cancellation would arrive
            await super().aclose()

    model = Slow()
    with anyio.CancelScope() as scope:
        async with runtime_of(model):
            scope.cancel()
    assert model.closed == 1


@pytest.mark.anyio
async def test_a_provider_that_hangs_is_left_behind_in_time(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time is the run's grace; here none, so that the test does not wait for it."""
    monkeypatch.setattr(becket.runtime, "GRACE", 0)

    class Hanging(Model):
        async def aclose(self) -> None:
            self.closed += 1
            await anyio.sleep_forever()

    hanging, other = Hanging("a"), Model("b")
    async with runtime_of(hanging, other):
        pass
    assert (hanging.closed, other.closed) == (1, 1)
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (logging.ERROR, "the provider 'a' did not close within 0 s; what it keeps open is left behind")
    ]


@pytest.mark.anyio
async def test_a_run_inside_the_block_sees_the_callers_context() -> None:
    """It lives in the runtime's task group, and is its caller's all the same."""
    tenant: ContextVar[str] = ContextVar("tenant", default="nobody")

    @tool(effect="none")
    async def whose() -> str:
        """Say whose run it is."""
        return tenant.get()

    async with Runtime(discover=False) as runtime:
        agent = Agent(ScriptedProvider(calls(("whose", {})), text("done")), [whose], runtime=runtime)
        tenant.set("acme")
        async with agent.stream_async("go") as events:
            finished = [event.result async for event in events if isinstance(event, ToolFinished)]
    assert [result.content for result in finished] == [(Text("acme"),)]


def test_a_sink_that_loses_itself_when_it_is_given_an_argument_is_its_plugins_fault() -> None:
    class Lost(ListSink):
        def with_argument(self, argument: str, /) -> Any:
            return None

    class Plugin:
        @hookimpl
        def register_sinks(self) -> list[ListSink]:
            return [Lost("lost")]

    runtime = Runtime(discover=False, plugins=[Plugin()])
    with pytest.raises(PluginError, match=r"its with_argument\(\) returned None, which is no sink"):
        runtime.sink("lost:x")


# -- what the first plugin gives ---------------------------------------------------------------------------------------


def giving(hook: str, gives: Callable[[], object], name: str = "Giver") -> object:
    return type(name, (), {hook: staticmethod(hookimpl(gives))})()


def lasting(run: RunInfo) -> MemoryLog:
    return MemoryLog(keep=len(run.agent))


def test_a_plugin_may_give_what_makes_the_logs_and_the_first_one_counts() -> None:
    plugins = [giving("make_event_log", lambda: lasting, "B"), giving("make_event_log", lambda: None, "A")]
    assert Runtime(plugins=plugins, discover=False).make_log is lasting
    assert Runtime(plugins=plugins, discover=False, make_log=MemoryLog).make_log is MemoryLog  # type: ignore[arg-type]  # not called


@pytest.mark.anyio
async def test_a_plugin_may_give_the_retry_policy_of_agents_that_say_none() -> None:
    tried: list[int] = []

    class Never:
        def delay(self, error: ProviderError, attempt: int, /) -> float | None:
            tried.append(attempt)
            return None

    runtime = Runtime(plugins=[giving("make_retry_policy", Never)], discover=False)
    agent = Agent(ScriptedProvider([ProviderError("busy", retryable=True)]), runtime=runtime)
    with pytest.raises(ProviderError):
        await agent.invoke_async("go")
    with pytest.raises(ProviderError):
        await agent.replace(retry=None).invoke_async("go")
    assert tried == [1]
    assert isinstance(Runtime(discover=False).retry, Backoff)
    assert Runtime(
        plugins=[giving("make_retry_policy", Never)], discover=False, retry=Backoff(attempts=9)
    ).retry == Backoff(attempts=9)


@pytest.mark.parametrize("hook", ["make_event_log", "make_retry_policy"])
def test_a_plugin_that_fails_to_give_it_is_quarantined_and_the_default_is_used(
    hook: str, caplog: pytest.LogCaptureFixture
) -> None:
    broken = giving(hook, lambda: "nonsense")
    runtime = Runtime(plugins=[broken], discover=False)
    assert (runtime.plugins[0].status, f"its {hook} failed" in runtime.plugins[0].reason) == ("quarantined", True)
    assert "the default is used instead" in caplog.text
    with pytest.raises(PluginError, match=hook):
        Runtime(plugins=[broken], discover=False, strict=True)
    with pytest.raises(ConfigError, match="the plugin 'giver' is required"):
        Runtime(plugins=[broken], discover=False, require=["Giver"])
