"""The pytest plugin of becket: tests of agents are recorded once, and replayed offline from then on; and fixtures.

`becket_runtime`, `becket_model` and `becket_events` are for tests of agents and plugins that ask no service,
`becket_environment` for tests of what users install.

A package of its own: pytest imports it in every test run of every environment that has becket, and it must cost that
nothing. becket is imported by the first test that uses a fixture of it, and so also after coverage has begun.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

    from becket import Event, Runtime
    from becket.testing import ListSink, Recording, ScriptedProvider
    from becket.testing.environments import Environment

_RECORDING: pytest.StashKey[Recording] = pytest.StashKey()
_WRITTEN: pytest.StashKey[list[Path]] = pytest.StashKey()

_LONGEST = 120
"""Characters of a file's name; file systems take 255 bytes, and some tools less of a path."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of the command line and of the configuration."""
    group = parser.getgroup("becket")
    group.addoption(
        "--becket-record",
        dest="becket_record",
        action="store_const",
        const="all",
        help="Call the models and the tools, and write the recordings of the tests that use becket_recording anew.",
    )
    group.addoption(
        "--becket-record-missing",
        dest="becket_record",
        action="store_const",
        const="missing",
        help="The same, only where there is no recording yet; the others are replayed.",
    )
    parser.addini(
        "becket_secrets", "Environment variables whose values must not be in a recording.", type="args", default=[]
    )


def pytest_configure(config: pytest.Config) -> None:
    """Announce the marker."""
    config.addinivalue_line(
        "markers",
        "becket_recording(name=None, secrets=(), real_tools=None): replay what the test's agents ask of models and "
        "tools; with --becket-record, record it. The same as the fixture becket_recording, with options.",
    )
    config.addinivalue_line(
        "markers",
        "becket_plugins(*plugins, **options): the plugins of the fixture becket_runtime, as objects, by what an entry "
        "point points at (module, module:object), or by the names of installed ones; options of becket.Runtime.",
    )
    config.stash[_WRITTEN] = []


def pytest_report_header(config: pytest.Config) -> str | None:
    """Say that models are called: that takes time and may cost money."""
    mode = config.getoption("becket_record")
    return f"becket: recording ({mode}): models and tools are called" if mode else None


def pytest_itemcollected(item: pytest.Item) -> None:
    """Have a marked test use the fixture, before its other ones."""
    names = getattr(item, "fixturenames", None)
    if names is not None and "becket_recording" not in names and item.get_closest_marker("becket_recording"):
        item.fixturenames = ["becket_recording", *names]  # type: ignore[attr-defined]  # the list is shared by all cases


@pytest.fixture
def becket_recording(request: pytest.FixtureRequest) -> Iterator[Recording]:
    """Replay what agents ask of models and tools in this test; with --becket-record, record it.

    Holds for every agent that runs while the test does, in any thread and of any runtime. The file is
    recordings/<test file>/<test>.ndjson beside the test; the recording has its `path`, and `record`.
    """
    from becket import ConfigError
    from becket.testing import Recording

    item, config = request.node, request.config
    options = _options(item)
    path = recording_path(item, options.pop("name", None))
    mode = config.getoption("becket_record")
    record = mode == "all" or (mode == "missing" and not path.exists())
    secrets = _secrets(options.pop("secrets", ()), config.getini("becket_secrets"))
    what = "if that is wanted, record it anew" if path.exists() else "make one"
    hint = f"{what}: pytest --becket-record {shlex.quote(item.nodeid)}"
    try:
        recording = Recording(path, record=record, secrets=secrets, hint=hint, **options)
    except ConfigError as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None
    item.stash[_RECORDING] = recording
    recording.begin()
    yield recording
    recording.end()


@pytest.fixture
def becket_runtime(request: pytest.FixtureRequest, _becket_sink: ListSink) -> Iterator[Runtime]:
    """A runtime of this test's own: strict, with no plugins but those that the marker becket_plugins names.

    No file of a configuration is read for it. It is the default runtime while the test runs, so that it is that of
    agents that are given none.
    """
    from becket import Runtime, set_default_runtime

    plugins, options = _plugins(request.node)
    runtime = Runtime(**{"discover": False, "strict": True, **options, "plugins": plugins, "sinks": [_becket_sink]})
    previous = set_default_runtime(runtime)
    try:
        yield runtime
    finally:
        set_default_runtime(previous)
        runtime.close()


def _plugins(item: pytest.Item) -> tuple[list[object], dict[str, Any]]:
    """The plugins and the options of the markers, the nearest last."""
    from becket.testing.plugins import loaded, resolved

    plugins: list[object] = []
    options: dict[str, Any] = {}
    for marker in reversed(list(item.iter_markers("becket_plugins"))):
        plugins += [loaded(resolved(given)) if isinstance(given, str) else given for given in marker.args]
        options |= marker.kwargs
    return plugins, options


@pytest.fixture
def _becket_sink() -> ListSink:
    from becket.testing import ListSink

    return ListSink("becket_events")


@pytest.fixture
def becket_events(becket_runtime: Runtime, _becket_sink: ListSink) -> list[Event]:  # noqa: ARG001  whose runs they are of
    """The events of all runs of becket_runtime, those of nested runs among them, in the order in which they came."""
    return _becket_sink.events


@pytest.fixture
def becket_model() -> Callable[..., ScriptedProvider]:
    """Makes a model that follows scripts, one for each of its calls: `becket_model(calls(("add", {...})), "Done.")`.

    A text is an answer; else what `becket.testing.ScriptedProvider` takes, its options among it.
    """
    from becket.testing import ScriptedProvider, text

    def make(*scripts: Any, **options: Any) -> ScriptedProvider:
        return ScriptedProvider(*(text(given) if isinstance(given, str) else given for given in scripts), **options)

    return make


@pytest.fixture
def becket_environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """A virtual environment that is thrown away, with becket in it: install a plugin there, and run `becket`.

    `becket_environment.install(folder)`, `.uninstall(name)` and `.run("becket", "tools")`, which gives what
    `subprocess.run` does; see `becket.testing.environments`.
    """
    from becket.testing.environments import Environment

    return Environment(tmp_path_factory.mktemp("environment") / "it")


def _secrets(of_test: str | Mapping[str, str] | Iterable[str], of_all: Iterable[str]) -> dict[str, str]:
    """The secrets by name: those that the marker says, and those of the configuration."""
    if isinstance(of_test, str):
        of_test = [of_test]
    if not isinstance(of_test, Mapping):
        of_test = {name: os.environ.get(name, "") for name in of_test}
    return {**{name: os.environ.get(name, "") for name in of_all}, **of_test}


def _options(item: pytest.Item) -> dict[str, Any]:
    """The options of the markers, the nearest first."""
    options: dict[str, Any] = {}
    for marker in item.iter_markers("becket_recording"):
        unknown = [*marker.args, *(marker.kwargs.keys() - {"name", "real_tools", "secrets"})]
        if unknown:
            raise pytest.UsageError(
                f"becket_recording has no option {unknown[0]!r}; it takes name=, secrets= and real_tools="
            )
        options = {**marker.kwargs, **options}
    return options


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """End the recording with the test: write the file if it has passed, and let it fail if something was missed."""
    recording = item.stash.get(_RECORDING, None)
    try:
        result = yield
    except BaseException as error:
        if recording is not None:
            _give_up(item, recording, error)
        raise
    if recording is not None:
        _finish(item, recording)
    return result


def _finish(item: pytest.Item, recording: Recording) -> None:
    from becket import BecketError
    from becket.testing import ReplayError

    try:
        recording.finish()
    except (BecketError, ReplayError) as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None
    if recording.record and recording.path.exists():
        item.config.stash[_WRITTEN].append(recording.path)


def _give_up(item: pytest.Item, recording: Recording, error: BaseException) -> None:
    """Say that nothing was written; where something was missed, fail with that, since the rest follows from it.

    It says where the test stood, and leaves out the frames of becket between the two.
    """
    if recording.record:
        said = f"the test did not pass, so its recording was not written: {_shown(recording.path, item.config)}"
        item.add_report_section("call", "becket", said)
    if recording.missed is None:
        return
    missed, lines = str(recording.missed), []
    trace = error.__traceback__
    while trace is not None:
        if Path(trace.tb_frame.f_code.co_filename) == item.path:
            lines = [f"{_shown(item.path, item.config)}:{trace.tb_lineno}: in {trace.tb_frame.f_code.co_name}"]
        trace = trace.tb_next
    lines.append(missed)
    if str(error) != missed:
        lines.append(f"the test then failed with {type(error).__name__}: {error}")
    raise pytest.fail.Exception("\n".join(lines), pytrace=False) from None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say which recordings were written."""
    written = config.stash[_WRITTEN]
    if written:
        terminalreporter.section("becket")
        for path in dict.fromkeys(written):
            terminalreporter.write_line(f"recorded: {_shown(path, config)}")


def recording_path(item: pytest.Item, name: str | None = None) -> Path:
    """Where the recording of a test is: `recordings/<test file>/<test>.ndjson`, in the folder of the test file.

    Characters that some file system does not take are replaced; a name that is changed or cut short by that gets a
    hash of the whole one, so that no two tests share a file.
    """
    inside = item.nodeid.partition("::")[2]
    if name is None:
        function, case, values = inside.partition("[")
        name = function.replace("::", ".") + (f"-{values[:-1]}" if case else "")
    safe = re.sub(r"[^A-Za-z0-9_.-]+", "-", name)
    if safe != name or len(safe) > _LONGEST:
        safe = f"{safe[:_LONGEST]}-{hashlib.sha256(name.encode(errors='surrogatepass')).hexdigest()[:8]}"
    return item.path.parent / "recordings" / item.path.stem / f"{safe}.ndjson"


def _shown(path: Path, config: pytest.Config) -> Path:
    """The path as messages show it: from where pytest was started, if it is below that."""
    start = config.invocation_params.dir
    return path.relative_to(start) if path.is_relative_to(start) else path
