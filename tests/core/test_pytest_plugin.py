"""The pytest plugin: each test is a run of pytest in a folder of its own."""

from __future__ import annotations

import subprocess
import sys

import becket.testing
import pytest

pytest_plugins = ["pytester"]

becket.warm_up()  # what is imported inside of a run of pytester is forgotten after it, and pydantic cannot be twice

HEAD = """
import pytest
from becket import Agent, Runtime, tool
from becket.testing import ReplayError, ScriptedProvider, calls, text

@tool
def weather(city: str) -> str:
    "The weather."
    return f"rain in {city}"

def answer(request):
    if RECORDED:
        raise AssertionError("the model is called")
    return text("It will ", "be rain.")

model = ScriptedProvider(calls(("weather", {"city": "Paris"})), answer)
agent = Agent(model, [weather], runtime=Runtime(discover=False))  # made at import, of a runtime of its own
"""


QUICK = (
    *(f"-pno:{name}" for name in ("cacheprovider", "hypothesispytest", "pytest_cov", "schemathesis")),
    "--assert=plain",
)
"""What is not under test is left out: it would be imported anew in each run."""


class Project:
    """A folder with one test file, to run pytest in."""

    def __init__(self, pytester: pytest.Pytester, tests: str) -> None:
        self.pytester = pytester
        self.tests = tests
        self.recordings = pytester.path / "recordings" / "test_it"

    def run(self, *options: str, **changed: str) -> pytest.RunResult:
        """Run pytest; the model may only be called where it records."""
        recording = any(option.startswith("--becket-record") for option in options)
        tests = self.tests
        for old, new in changed.items():
            tests = tests.replace(old, new)
        self.pytester.makepyfile(test_it=f"RECORDED = {not recording}\n{HEAD}\n{tests}")
        return self.pytester.runpytest_inprocess(*QUICK, "-W", "error", *options)

    @property
    def files(self) -> list[str]:
        """The recordings that there are."""
        return sorted(str(path.relative_to(self.recordings)) for path in self.recordings.rglob("*"))


@pytest.fixture
def project(pytester: pytest.Pytester, request: pytest.FixtureRequest) -> Project:
    return Project(pytester, request.param)


def given(source: str) -> pytest.MarkDecorator:
    """The tests of the project."""
    return pytest.mark.parametrize("project", [source], indirect=True, ids=["project"])


ONE = """
def test_weather(becket_recording):
    assert "rain" in agent("PROMPT").text
"""


@given(ONE)
def test_a_test_is_recorded_once_and_replayed_from_then_on(project: Project) -> None:
    recorded = project.run("--becket-record")
    recorded.assert_outcomes(passed=1)
    recorded.stdout.fnmatch_lines(["becket: recording (all)*", "recorded: *test_weather.ndjson"])
    assert project.files == ["test_weather.ndjson"]
    replayed = project.run()
    replayed.assert_outcomes(passed=1)
    replayed.stdout.no_fnmatch_line("*recorded:*")


@given(ONE)
def test_without_a_recording_a_test_fails_and_says_how_to_make_one(project: Project) -> None:
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "test_it.py:*: in test_weather",
            "there is no recording *.ndjson': it is not there; make one: pytest --becket-record *::test_weather",
        ]
    )
    assert project.files == []


@given(ONE)
def test_a_changed_prompt_fails_with_the_difference_and_nothing_of_beckets_frames(project: Project) -> None:
    project.run("--becket-record")
    result = project.run(PROMPT="CHANGED")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(['-*"text": "PROMPT",', '+*"text": "CHANGED",'])
    result.stdout.no_fnmatch_line("*_driver.py*")
    result.stdout.no_fnmatch_line("*During handling*")


@given("""
def test_weather(becket_recording):
    try:
        answer = agent("PROMPT").text
    except Exception:
        answer = "sorry"
    assert answer in ACCEPTED
""")
def test_a_difference_that_the_code_under_test_swallows_fails_the_test(project: Project) -> None:
    project.run("--becket-record", ACCEPTED="['It will be rain.']").assert_outcomes(passed=1)
    swallowed = project.run(PROMPT="CHANGED", ACCEPTED="['sorry']")
    swallowed.assert_outcomes(failed=1)
    swallowed.stdout.fnmatch_lines(["*no recorded run begins with what is asked*"])
    after = project.run(PROMPT="CHANGED", ACCEPTED="['never']")
    after.assert_outcomes(failed=1)
    after.stdout.fnmatch_lines(["*no recorded run begins*", "the test then failed with AssertionError: *"])


@given("""
def test_weather(becket_recording):
    if ASK:
        agent("go")
""")
def test_a_recording_that_is_not_used_up_fails_the_test(project: Project) -> None:
    project.run("--becket-record", ASK="True").assert_outcomes(passed=1)
    result = project.run(ASK="False")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*holds model calls that were not made: 2 of run-1*"])
    project.run("--becket-record", ASK="False").assert_outcomes(passed=1)
    assert project.files == []
    project.run(ASK="False").assert_outcomes(passed=1)


@given("""
def test_weather(becket_recording):
    assert agent("go").text == "EXPECTED"
""")
def test_a_failed_test_leaves_the_old_recording(project: Project) -> None:
    project.run("--becket-record", EXPECTED="It will be rain.").assert_outcomes(passed=1)
    (file,) = project.recordings.iterdir()
    before = file.read_bytes()
    result = project.run("--becket-record", EXPECTED="sun")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["the test did not pass, so its recording was not written: *"])
    assert file.read_bytes() == before


@given("""
def test_one(becket_recording):
    agent("go")

def test_two(becket_recording):
    agent("go")
""")
def test_what_is_missing_can_be_recorded_alone(project: Project) -> None:
    project.run("--becket-record", "-k", "one").assert_outcomes(passed=1, deselected=1)
    before = (project.recordings / "test_one.ndjson").stat()
    result = project.run("--becket-record-missing")
    result.assert_outcomes(passed=2)
    assert project.files == ["test_one.ndjson", "test_two.ndjson"]
    assert (project.recordings / "test_one.ndjson").stat().st_ino == before.st_ino


@given("""
import unittest

@pytest.mark.becket_recording
class TestGroup:
    @pytest.mark.parametrize("city", ["Paris", "a/b c", "a:b c", pytest.param("", id="x" * 300), ""])
    def test_case(self, city):
        agent("go" + city)

@pytest.mark.becket_recording
class TestOld(unittest.TestCase):
    def test_it(self):
        agent("go")

@pytest.mark.becket_recording(name="shared")
@pytest.mark.anyio
async def test_loops(anyio_backend):
    await agent.invoke_async("go")

@pytest.mark.parametrize("case", [pytest.param(1, marks=pytest.mark.becket_recording), 2])
def test_one_of_them(case, request):
    assert ("becket_recording" in request.fixturenames) == (case == 1)
""")
def test_a_marker_is_as_good_and_each_test_has_a_file_with_a_name_for_every_file_system(project: Project) -> None:
    project.run("--becket-record").assert_outcomes(passed=10)
    assert all(len(name) < 150 for name in project.files)
    assert [name for name in project.files if "xxx" not in name] == [
        "TestGroup.test_case-.ndjson",
        "TestGroup.test_case-Paris.ndjson",
        "TestGroup.test_case-a-b-c-2741c220.ndjson",
        "TestGroup.test_case-a-b-c-462ffbde.ndjson",
        "TestOld.test_it.ndjson",
        "shared.ndjson",
    ]
    project.run().assert_outcomes(passed=10)


@given("""
pytestmark = pytest.mark.becket_recording(secrets={"INNER": "inner-secret"})

@pytest.mark.becket_recording(secrets="NAMED", real_tools=["weather"])
def test_nearest(becket_recording):
    assert becket_recording.path.name == "test_nearest.ndjson"
    agent("by-name in-the-ini")

def test_of_the_module():
    agent("inner-secret in-the-ini")

@pytest.mark.becket_recording(tools=[])
def test_wrong():
    pass
""")
def test_options_stand_in_the_marker_and_secrets_of_all_in_the_configuration(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NAMED", "by-name")
    monkeypatch.setenv("OF_ALL", "in-the-ini")
    project.pytester.makeini("[pytest]\nbecket_secrets = OF_ALL\n")
    result = project.run("--becket-record")
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*becket_recording has no option 'tools'; it takes name=, secrets= and real_tools="])
    written = "".join(path.read_text(encoding="utf-8") for path in project.recordings.iterdir())
    assert "[secret NAMED] [secret OF_ALL]" in written
    assert "[secret INNER] [secret OF_ALL]" in written


@given("""
import os

def test_weather(becket_recording, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    agent("go")
""")
def test_a_test_may_change_the_working_directory(project: Project) -> None:
    project.run("--becket-record").assert_outcomes(passed=1)
    assert project.files == ["test_weather.ndjson"]


@given("""
def test_weather(becket_recording):
    agent("go")

def test_after():
    if RECORDED:
        with pytest.raises(AssertionError, match="the model is called"):
            agent("go")
""")
def test_a_damaged_recording_is_told_and_the_next_test_is_not_concerned(project: Project) -> None:
    project.run("--becket-record").assert_outcomes(passed=2)
    (project.recordings / "test_weather.ndjson").write_text("{}", encoding="utf-8")
    result = project.run()
    result.assert_outcomes(errors=1, passed=1)
    result.stdout.fnmatch_lines(["*is no recording, or is damaged: line 1 *"])


def test_the_plugin_costs_a_run_of_pytest_nothing() -> None:
    check = (
        "import sys, pytest; before = set(sys.modules); import pytest_becket; "
        "new = {name.partition('.')[0] for name in set(sys.modules) - before}; "
        "assert new <= {'pytest_becket', 'hashlib', '_hashlib', '_blake2', 'shlex'}, new"
    )
    subprocess.run([sys.executable, "-c", check], check=True)  # noqa: S603  our own interpreter


def test_becket_testing_needs_no_pytest() -> None:
    check = "import sys; sys.modules['pytest'] = None; import becket.testing; becket.testing.Recording"
    subprocess.run([sys.executable, "-c", check], check=True)  # noqa: S603  as above
