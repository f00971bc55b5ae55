"""Deciding on tool calls: at a terminal by whoever sits there, elsewhere by what the command line says."""

from __future__ import annotations

import json
from typing import Any

import pytest

RUN = ("run", "-m", "fake:notes", "-t", "note")


def test_without_a_terminal_what_writes_is_denied_and_the_model_is_told_why(becket: Any) -> None:
    ended = becket(*RUN, "hi")
    assert ended.returncode == 0
    assert ended.stdout.count("denied: there is no terminal to ask at; --yes allows what is asked about") == 2


@pytest.mark.parametrize("option", ["--yes", "-y"])
def test_yes_allows_what_is_asked_about(becket: Any, option: str) -> None:
    ended = becket(*RUN, option, "hi")
    assert (ended.returncode, ended.stdout) == (0, f"noted {'w' * 300} here\nnoted again here\n")
    assert ended.stderr.count("decision: allow by the approver: --yes") == 2


def test_deny_denies_it(becket: Any) -> None:
    ended = becket(*RUN, "--deny", "hi")
    assert (ended.returncode, ended.stdout.count("the command line says --deny")) == (0, 2)


def test_the_events_say_what_was_asked_and_decided(becket: Any) -> None:
    events = [json.loads(line) for line in becket(*RUN, "--json", "-y", "hi").stdout.splitlines()]
    asked = [event for event in events if event["type"] == "decision_requested"]
    made = [event for event in events if event["type"] == "decision_made"]
    assert [event["call"]["arguments"] for event in asked] == [{"words": "w" * 300}, {"words": "again"}]
    assert [event["request_id"] for event in asked] == [event["request_id"] for event in made]


def test_a_terminal_shows_every_argument_whole_and_asks_for_each_call(on_terminal: Any) -> None:
    terminal = on_terminal(*RUN, "hi")
    terminal.read_until("[N]o: ")
    assert f'words: "{"w" * 300}"' in terminal.seen.replace("\r\n", "\n")
    terminal.type("y\n")
    terminal.read_until('words: "again"')
    terminal.read_until("[N]o: ")
    terminal.type("\n")
    assert terminal.end() == 0
    assert f"noted {'w' * 300} here" in terminal.seen
    assert "whoever was asked has said no" in terminal.seen


def test_nothing_is_hidden_from_whoever_approves(on_terminal: Any) -> None:
    """Nor invisible characters, of which a whole text can be made."""
    terminal = on_terminal("run", "-m", "fake:hides", "-t", "note", "hi")
    terminal.read_until("[N]o: ")
    assert r'words: "a\u200b\U000e0041\ufe0f\u202e\u001b[2Jb"' in terminal.seen
    terminal.type("n\n")
    assert terminal.end() == 0


def test_of_arguments_that_may_have_left_the_screen_it_is_said_how_long_they_are(on_terminal: Any) -> None:
    terminal = on_terminal("run", "-m", "fake:long", "-t", "note", "hi")
    terminal.read_until("[N]o: ")
    assert "w" * 2_000 in terminal.seen
    assert "These are 2 arguments with 2,029 characters: scroll up to see all." in terminal.seen
    terminal.type("n\n")
    assert terminal.end() == 0


def test_what_was_typed_before_the_question_does_not_answer_it(on_terminal: Any) -> None:
    """A model's own text may look like a question, and be answered before it makes a call."""
    terminal = on_terminal(*RUN, "hi")
    terminal.type("y\ny\n")
    terminal.read_until("[N]o: ")
    terminal.type("n\n")
    terminal.read_until('words: "again"')
    terminal.type("n\n")
    assert terminal.end() == 0
    assert "noted" not in terminal.seen


ASKING = """
from becket import Agent, hookimpl, tool
from becket.testing import ScriptedProvider, calls, text

@tool(effect="write")
def note(words: str) -> str:
    "Note something down."
    return f"noted {words}"

def asking(name):
    model = ScriptedProvider(calls(("note", {"words": name})), text("done"))
    return Agent(model, [note], name=name).as_tool(name, "Ask.")

class Root:
    name = "root"
    default_model = "root"
    script = ScriptedProvider(calls(("one", {"prompt": "?"}), ("two", {"prompt": "?"})), text("the end"))

    def models(self):
        return []

    def stream(self, request):
        return self.script.stream(request)

    async def aclose(self):
        pass

@hookimpl
def register_providers():
    return [Root()]

@hookimpl
def register_tools():
    return [asking("one"), asking("two")]
"""


def test_runs_that_ask_at_the_same_time_are_answered_one_after_the_other(becket: Any, on_terminal: Any) -> None:
    """Two agents as tools of one; what was always allowed to the one is still to be allowed to the other."""
    becket.install("asking", ASKING)
    terminal = on_terminal("run", "-m", "root", "-t", "one,two", "hi")
    for _ in range(2):
        terminal.read_until("[N]o: ")
        terminal.seen = ""
        terminal.type("a\n")
    assert terminal.end() == 0
    assert "the end" in terminal.seen


def test_always_holds_for_the_run(on_terminal: Any) -> None:
    terminal = on_terminal(*RUN, "hi")
    terminal.read_until("[N]o: ")
    terminal.type("nonsense\n")
    terminal.read_until("nonsense")
    terminal.type("always\n")
    assert terminal.end() == 0
    assert terminal.seen.count("Allow it?") == 2
    assert "noted again here" in terminal.seen


def test_arguments_can_be_edited_and_a_mistake_costs_nothing(on_terminal: Any) -> None:
    terminal = on_terminal(*RUN, "hi")
    terminal.read_until("[N]o: ")
    terminal.type("e\n")
    for mistake, said in (("{", "That is no JSON: "), ("[1]", "That is no JSON object")):
        terminal.read_until("go back): ")
        terminal.seen = ""
        terminal.type(f"{mistake}\n")
        terminal.read_until(said)
    terminal.read_until("go back): ")
    terminal.seen = ""
    terminal.type("\n")
    terminal.read_until("[N]o: ")
    terminal.seen = ""
    terminal.type("edit\n")
    terminal.read_until("go back): ")
    terminal.type('{"words": "edited", "place": "there"}\n')
    terminal.read_until("Allow it?")
    terminal.type("n\n")
    assert terminal.end() == 0
    assert "noted edited there" in terminal.seen


def test_the_end_of_the_input_is_a_no(on_terminal: Any) -> None:
    terminal = on_terminal(*RUN, "hi")
    for _ in range(2):
        terminal.read_until("[N]o: ")
        terminal.seen = ""
        terminal.type("\x04")
    assert terminal.end() == 0
    assert terminal.seen.count("whoever was asked has said no") >= 1


def test_ctrl_c_at_the_question_cancels_the_run(on_terminal: Any) -> None:
    terminal = on_terminal(*RUN, "hi")
    terminal.read_until("[N]o: ")
    terminal.type("\x03")
    assert terminal.end() == 130
    assert "stopped: cancelled" in terminal.seen
    assert "thread" not in terminal.seen


def test_nobody_is_asked_about_arguments_that_do_not_fit(on_terminal: Any) -> None:
    terminal = on_terminal("run", "-m", "fake:misnotes", "-t", "note", "hi")
    assert terminal.end() == 0
    assert "Allow it?" not in terminal.seen
    assert "there is no such argument" in terminal.seen


def test_a_tool_that_does_not_say_what_it_does_is_asked_about(becket: Any) -> None:
    run = ("run", "-m", "fake:unsaid", "-t", "unsaid", "--json", "hi")
    assert [decided["outcome"] for decided in made_in(becket(*run))] == ["deny"]
    assert [decided["outcome"] for decided in made_in(becket(*run, "-y"))] == ["allow"]


@pytest.mark.parametrize(
    ("own", "granted", "decided"),
    [
        ("", (), ["deny"]),
        ("", ("-t", "remote"), []),
        ('[approvals]\nallow = ["remote"]', (), []),
        ('tools = ["remote"]', (), ["deny"]),
    ],
)
def test_what_only_a_project_has_granted_is_asked_about_where_it_leaves_the_machine(
    becket: Any, tmp_path: Any, own: str, granted: tuple[str, ...], decided: list[str]
) -> None:
    project, user = tmp_path / "project", tmp_path / "own.toml"
    project.mkdir()
    (project / "becket.toml").write_text('tools = ["remote"]', encoding="utf-8")
    user.write_text(own, encoding="utf-8")
    ended = becket("run", "--config", str(user), "-m", "fake:remote", "--json", *granted, "hi", cwd=project)
    assert [made["outcome"] for made in made_in(ended)] == decided


def made_in(ended: Any) -> list[Any]:
    events = [json.loads(line) for line in ended.stdout.splitlines()]
    assert events[-1]["type"] == "run_finished", ended.stderr
    return [event for event in events if event["type"] == "decision_made"]
