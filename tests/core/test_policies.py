"""Deciding on tool calls: by effect, by policies, by whoever is asked; the strongest word counts, failure is a no."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest
from becket import (
    Agent,
    Allow,
    Ask,
    Config,
    ConfigError,
    DecisionMade,
    DecisionRequested,
    Deny,
    Edit,
    Event,
    Limits,
    PluginFailed,
    Policy,
    RunFinished,
    Runtime,
    ToolCall,
    ToolFinished,
    ToolStarted,
    event_from_json,
    hookimpl,
    tool,
)
from becket.policies import Said, combined, request_id
from becket.testing import ScriptedProvider, calls, text
from hypothesis import given
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from becket import AgentStream, Tool

pytestmark = pytest.mark.anyio


def made(name: str = "act", **options: Any) -> Tool[..., Any]:
    def act(place: str = "here", times: int = 1) -> str:
        """Do it."""
        return f"done {place} {times}"

    return tool(name=name, **options)(act)


COMPUTES, READS, WRITES, UNSAID = made(effect="none"), made(effect="read"), made(effect="write"), made()


class Rule:
    """A policy that says this, or what this function returns."""

    def __init__(self, says: Any, name: str = "rule") -> None:
        self.name = name
        self.seen: list[dict[str, Any]] = []
        self._says = says

    def approve(self, ctx: Any, call: ToolCall, tool: Any) -> Any:
        assert (ctx.agent, tool.name) == ("agent", call.tool)
        self.seen.append(call.arguments)
        return self._says() if callable(self._says) else self._says


def hooks(*verdicts: Any) -> list[object]:
    """A plugin for each verdict, that says it of every call."""
    return [
        type(f"P{at}", (), {"approve_tool": staticmethod(hookimpl(lambda call, verdict=verdict: verdict))})()
        for at, verdict in enumerate(verdicts)
    ]


def agent_of(
    used: Any = WRITES, *, plugins: Iterable[object] = (), arguments: Any = None, runtime: Any = None, **options: Any
) -> Agent:
    model = ScriptedProvider(calls(("act", arguments or {})), text("ok"))
    runtime = runtime or Runtime(plugins=plugins, discover=False)
    return Agent(model, [used], runtime=runtime, **options)


async def read(agent: Agent, answer: Callable[[AgentStream, DecisionRequested], Any] | None = None) -> list[Event]:
    events: list[Event] = []
    with anyio.fail_after(20):
        async with agent.stream_async("go") as stream:
            async for event in stream:
                events.append(event)
                if answer is not None and isinstance(event, DecisionRequested):
                    await answer(stream, event)
    return events


def only(events: Sequence[Event], kind: Any) -> Any:
    (found,) = [event for event in events if isinstance(event, kind)]
    return found


def outcome(events: Sequence[Event]) -> tuple[str, str]:
    result = only(events, ToolFinished).result
    return result.status, result.text


# -- by effect ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("used", [COMPUTES, READS, UNSAID])
async def test_what_computes_or_reads_is_called_and_so_is_what_the_host_hands_over_unsaid(used: Any) -> None:
    events = await read(agent_of(used))
    assert outcome(events) == ("success", "done here 1")
    assert not any(isinstance(event, DecisionMade) for event in events)


async def test_what_says_that_it_writes_is_denied_where_nobody_is_there_to_ask() -> None:
    events = await read(agent_of(WRITES))
    reason = "it may change something on this machine, and nobody is there to be asked"
    assert outcome(events) == ("denied", f"act was not called, the call was denied: {reason}")
    decided = only(events, DecisionMade)
    assert (decided.outcome, decided.by, decided.call_id) == ("deny", "the effect of act", "call-1")
    assert "Agent(approver=...)" in decided.reason
    assert decided["tool_cancel_event"]["message"] == decided.reason
    assert not any(isinstance(event, ToolStarted | DecisionRequested) for event in events)
    assert only(events, RunFinished).result.text == "ok"


async def test_a_tool_that_is_named_and_does_not_say_what_it_does_counts_as_one_that_writes() -> None:
    runtime = Runtime(
        plugins=[type("T", (), {"register_tools": staticmethod(hookimpl(lambda: [UNSAID]))})()], discover=False
    )
    assert outcome(await read(agent_of("act", runtime=runtime)))[0] == "denied"
    assert outcome(await read(agent_of(UNSAID, runtime=runtime)))[0] == "success"


async def test_a_call_beyond_the_machine_says_so() -> None:
    assert "beyond this machine" in outcome(await read(agent_of(made(effect="write", reach="network"))))[1]


@pytest.mark.parametrize(
    ("arguments", "status"), [({"place": "here"}, "success"), ({"place": "there"}, "denied"), ({}, "denied")]
)
async def test_what_a_call_does_may_depend_on_its_arguments(arguments: Any, status: str) -> None:
    used = made(effect="write", effect_of=lambda given: "read" if given["place"] == "here" else "write")
    assert outcome(await read(agent_of(used, arguments=arguments)))[0] == status


async def test_an_effect_of_its_own_that_is_none_says_nothing() -> None:
    assert made(effect="read", effect_of=lambda _: "nonsense").effect_of({}) == "read"


# -- by policies -------------------------------------------------------------------------------------------------------

DENY, ASK, ALLOW = Deny("not today"), Ask("are you sure?"), Allow("fine")


@pytest.mark.parametrize(
    ("used", "plugins", "policies", "status"),
    [
        (READS, [DENY], [], "denied"),
        (READS, [ALLOW, DENY, ALLOW], [ALLOW], "denied"),
        (READS, [ASK], [], "denied"),
        (READS, [ASK], [ALLOW], "denied"),
        (READS, [None], [None], "success"),
        (WRITES, [ALLOW], [], "denied"),
        (WRITES, [], [ALLOW], "success"),
        (WRITES, [None], [ALLOW], "success"),
        (WRITES, [ASK], [ALLOW], "denied"),
        (WRITES, [], [ALLOW, DENY], "denied"),
        (UNSAID, [], [DENY], "denied"),
    ],
)
async def test_the_strongest_word_counts_and_only_a_named_policy_can_grant(
    used: Any, plugins: list[Any], policies: list[Any], status: str
) -> None:
    named = [Rule(says, f"rule{at}") for at, says in enumerate(policies)]
    assert outcome(await read(agent_of(used, plugins=hooks(*plugins), policies=named)))[0] == status


async def test_a_denial_tells_the_model_why_and_the_reader_who() -> None:
    events = await read(agent_of(READS, policies=[Rule(DENY)]))
    assert outcome(events) == ("denied", "act was not called, the call was denied: not today")
    assert (only(events, DecisionMade).by, only(events, DecisionMade).reason) == ("rule", "not today")


async def test_every_policy_is_asked_of_every_call_on_its_final_arguments() -> None:
    async def allows() -> Allow:
        await anyio.lowlevel.checkpoint()
        return ALLOW

    rewrites = type("R", (), {})()
    rewrites.before_tool_call = hookimpl(lambda call: ToolCall(call.id, call.tool, {"place": "rewritten"}))
    first, second = Rule(DENY), Rule(allows)
    await read(agent_of(WRITES, plugins=[rewrites], policies=[first, second]))
    assert first.seen == second.seen == [{"place": "rewritten"}]


async def test_a_policy_is_named_by_the_runtime_or_the_agent_and_asked_once_where_both_do() -> None:
    rule = Rule(ALLOW)
    plugin = type("Giver", (), {"register_policies": staticmethod(hookimpl(lambda: [rule]))})()
    runtime = Runtime(plugins=[plugin], discover=False, policies=["rule"])
    assert outcome(await read(agent_of(runtime=runtime, policies="rule")))[0] == "success"
    assert len(rule.seen) == 1
    assert runtime.plugins[0].adds == {"policies": ("rule",)}
    assert isinstance(rule, Policy)
    assert list(runtime.available_policies) == ["rule"]
    assert runtime.policies == (rule,)


def test_a_policy_that_is_not_there_is_an_error_that_lists_those_that_are() -> None:
    with pytest.raises(ConfigError, match=r"there is no policy 'gard'. Installed policies: none"):
        Runtime(discover=False, policies=["gard"])
    with pytest.raises(ConfigError, match="is no policy"):
        agent_of(policies=[Rule])  # the class, and not an object of it


@pytest.mark.parametrize("says", [lambda: 1 / 0, lambda: "yes", lambda: True, lambda: Deny(5), lambda: Allow(None)])  # type: ignore[arg-type]  # mistakes
async def test_a_policy_that_fails_denies_and_is_reported(says: Any) -> None:
    events = await read(agent_of(READS, policies=[Rule(says)]))
    assert outcome(events)[0] == "denied"
    failed = only(events, PluginFailed)
    assert (failed.plugin, failed.hook) == ("rule", "approve")
    assert "the policy 'rule' failed" in failed.error


@given(
    st.lists(st.builds(Said, st.text(), st.sampled_from([ALLOW, ASK, DENY]), st.booleans())),
    st.sampled_from([ALLOW, ASK]),
)
def test_nothing_that_is_said_makes_a_denial_or_a_question_weaker(said: list[Said], rule: Any) -> None:
    strength = {Allow: 0, Ask: 1, Deny: 2}
    before = strength[type(combined(said, rule).verdict)]
    for extra in (ASK, DENY):
        assert strength[type(combined([*said, Said("x", extra)], rule).verdict)] >= max(before, strength[type(extra)])
    allowed = strength[type(combined([*said, Said("x", ALLOW)], rule).verdict)]
    assert allowed == before


# -- whoever is asked --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "status"), [(True, "success"), (ALLOW, "success"), (False, "denied"), (Deny("no"), "denied")]
)
@pytest.mark.parametrize("kind", ["sync", "async", "object", "returns an awaitable"])
async def test_the_hosts_function_answers(answer: Any, status: str, kind: str) -> None:
    asked: list[tuple[DecisionRequested, int]] = []

    def sync(request: DecisionRequested) -> Any:
        asked.append((request, threading.get_ident()))
        return answer

    async def waits(request: DecisionRequested) -> Any:
        await anyio.lowlevel.checkpoint()
        return sync(request)

    def handed_on(request: DecisionRequested) -> Any:
        return waits(request)

    class Object:
        async def __call__(self, request: DecisionRequested) -> Any:
            return await waits(request)

    approver: Any = {"sync": sync, "async": waits, "object": Object()}.get(kind, handed_on)
    events = await read(agent_of(approver=approver))
    assert outcome(events)[0] == status
    (request, thread) = asked[0]
    assert request is only(events, DecisionRequested)
    assert (request.kind, request.why) == ("approve_tool", "it may change something on this machine")
    assert request.call == ToolCall("call-1", "act", {})
    assert request.deadline is not None
    assert (thread == threading.get_ident()) == (kind != "sync")
    decided = only(events, DecisionMade)
    assert (decided.request_id, decided.by) == (request.request_id, "the approver")
    order = [event.type for event in events if event.type.startswith(("decision", "tool_"))]
    assert order[1:4] == [
        "decision_requested",
        "decision_made",
        "tool_finished" if status == "denied" else "tool_started",
    ]


async def test_edited_arguments_run_as_edited_and_policies_see_them() -> None:
    rule = Rule(None)
    agent = agent_of(arguments={"place": "far"}, policies=[rule], approver=lambda _: Edit({"place": "near"}, "too far"))
    events = await read(agent)
    assert outcome(events) == ("success", "done near 1")
    assert only(events, ToolStarted).call.arguments == {"place": "near"}
    assert rule.seen == [{"place": "far"}, {"place": "near"}]
    assert (only(events, DecisionMade).outcome, only(events, DecisionMade).reason) == ("edit", "too far")


async def test_a_policy_can_deny_what_was_edited() -> None:
    def guard(ctx: Any, call: ToolCall, tool: Any) -> Any:
        return Deny("not there") if call.arguments.get("place") == "vault" else None

    rule = Rule(None)
    rule.approve = guard  # type: ignore[method-assign]  # a policy is any object with such a function
    events = await read(agent_of(policies=[rule], approver=lambda _: Edit({"place": "vault"})))
    assert outcome(events) == ("denied", "act was not called, the call was denied: not there")
    assert only(events, DecisionMade).by == "rule"


async def test_edited_arguments_that_do_not_fit_are_an_error_result_and_not_a_call() -> None:
    events = await read(agent_of(approver=lambda _: Edit({"times": "many"})))
    assert outcome(events)[0] == "error"


async def test_nobody_is_asked_about_a_call_that_cannot_be_made() -> None:
    events = await read(agent_of(arguments={"times": "many"}, approver=lambda _: pytest.fail("asked in vain")))
    assert outcome(events)[0] == "error"
    assert not any(isinstance(event, DecisionRequested) for event in events)


async def test_what_the_approver_raises_the_run_fails_with_and_nothing_was_called() -> None:
    def fails(_: DecisionRequested) -> bool:
        raise OSError("the terminal is gone")

    with pytest.raises(OSError, match="the terminal is gone"):
        await read(agent_of(approver=fails))


@pytest.mark.parametrize("answer", [None, "yes", Edit([1]), Edit({"a": object}), Deny(5), Edit({}, None)])  # type: ignore[arg-type]  # mistakes
async def test_what_answers_nothing_is_an_error(answer: Any) -> None:
    with pytest.raises(ConfigError, match=r"answers nothing|are no JSON"):
        await read(agent_of(approver=lambda _: answer))


async def test_reasons_are_cleaned_so_that_their_events_can_be_written() -> None:
    odd = "so \ud800"
    events = await read(agent_of(policies=[Rule(lambda: Ask(odd))], approver=lambda _: Allow(odd)))
    assert only(events, DecisionRequested).why == only(events, DecisionMade).reason == "so \ufffd"
    assert all(event_from_json(event.to_json()) == event for event in events)


def test_an_approver_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"approver is 'somebody'; it takes a function that answers, or 'reader'"):
        agent_of(approver="somebody")


async def test_a_request_lapses_and_the_call_is_denied() -> None:
    async def sleeps(_: DecisionRequested) -> bool:
        await anyio.sleep_forever()
        return True

    events = await read(agent_of(approver=sleeps, limits=Limits(decision_seconds=0.05)))
    assert outcome(events)[1].endswith("nobody has answered within 0.05 s")
    assert only(events, DecisionMade).by == "the time limit"


async def test_a_request_without_a_time_limit_has_no_deadline() -> None:
    events = await read(agent_of(approver=lambda _: True, limits=Limits(decision_seconds=None)))
    assert only(events, DecisionRequested).deadline is None


async def test_cancelling_ends_a_run_that_waits_for_an_answer() -> None:
    async def cancel(stream: AgentStream, _: DecisionRequested) -> None:
        await anyio.lowlevel.checkpoint()
        stream.cancel()

    events = await read(agent_of(approver="reader"), cancel)
    assert outcome(events)[0] == "interrupted"
    assert only(events, RunFinished).result.stop_reason == "cancelled"


# -- the reader --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        (True, "done here 1"),
        (Edit({"times": 2}), "done here 2"),
        (Deny("no"), "act was not called, the call was denied: no"),
    ],
)
async def test_whoever_reads_the_stream_answers(answer: Any, result: str) -> None:
    async def decide(stream: AgentStream, request: DecisionRequested) -> None:
        await stream.decide(request.request_id, answer)

    events = await read(agent_of(approver="reader"), decide)
    assert outcome(events)[1] == result
    assert only(events, DecisionMade).by == "the reader"


async def test_an_answer_counts_once_and_for_the_request_that_it_names() -> None:
    said: list[str] = []

    async def decide(stream: AgentStream, request: DecisionRequested) -> None:
        for name in ("f" * 32, request.request_id, request.request_id):
            try:
                await stream.decide(name, answer=True)
                said.append("taken")
            except ConfigError as error:
                said.append("no open request" if f"no open request {name!r}" in str(error) else str(error))

    assert outcome(await read(agent_of(approver="reader"), decide))[0] == "success"
    assert said == ["no open request", "taken", "no open request"]


async def test_no_answer_of_a_reader_leaves_the_request_open() -> None:
    async def decide(stream: AgentStream, request: DecisionRequested) -> None:
        with pytest.raises(ConfigError, match="answers nothing"):
            await stream.decide(request.request_id, "yes")  # type: ignore[arg-type]  # the mistake
        await stream.decide(request.request_id, answer=True)

    assert outcome(await read(agent_of(approver="reader"), decide))[0] == "success"


async def test_there_is_nothing_to_decide_before_and_after_a_run_and_where_nothing_asks() -> None:
    stream = agent_of(COMPUTES).stream_async("go")
    with pytest.raises(ConfigError, match="does not go on"):
        await stream.decide("x", answer=True)
    async with stream:
        with pytest.raises(ConfigError, match="nothing in it asks"):
            await stream.decide("x", answer=True)
        async for _ in stream:
            pass
        with pytest.raises(ConfigError, match="does not go on"):
            await stream.decide("x", answer=True)


async def test_a_decision_is_made_on_the_event_loop_of_the_run() -> None:
    async with agent_of(approver="reader").stream_async("go") as stream:
        with pytest.raises(RuntimeError, match="event loop that the run lives in"):
            await anyio.to_thread.run_sync(anyio.run, stream.decide, "x", True)


# -- what a request is named by ----------------------------------------------------------------------------------------


def test_a_request_is_bound_to_its_place_its_tool_and_its_arguments() -> None:
    call = ToolCall("c", "act", {"a": 1, "b": [{"x": 1, "y": 2}]})
    same = ToolCall("c", "act", {"b": [{"y": 2, "x": 1}], "a": 1})
    name = request_id("run", 1, 0, call)
    assert request_id("run", 1, 0, same) == name
    others = [
        request_id("other", 1, 0, call),
        request_id("run", 2, 0, call),
        request_id("run", 1, 1, call),
        request_id("run", 1, 0, ToolCall("d", "act", call.arguments)),
        request_id("run", 1, 0, ToolCall("c", "react", call.arguments)),
        request_id("run", 1, 0, ToolCall("c", "act", {"a": 2})),
    ]
    assert len({name, *others}) == 7
    assert len(name) == 32


async def test_several_calls_are_decided_each_on_its_own() -> None:
    model = ScriptedProvider(calls(("act", {"times": 1}), ("act", {"times": 2}), ("act", {"times": 3})), text("ok"))
    answers = iter([True, False, Edit({"times": 30})])
    agent = Agent(model, [WRITES], approver=lambda _: next(answers), runtime=Runtime(discover=False))
    events = await read(agent)
    results = {event.result.call_id: event.result.status for event in events if isinstance(event, ToolFinished)}
    assert results == {"call-1": "success", "call-2": "denied", "call-3": "success"}
    assert len({event.request_id for event in events if isinstance(event, DecisionRequested)}) == 3


# -- what the configuration says ---------------------------------------------------------------------------------------


def configured(**said: list[str]) -> Runtime:
    giver = type("Giver", (), {"register_tools": staticmethod(hookimpl(lambda: [WRITES]))})()
    return Runtime(plugins=[giver], discover=False, config=Config.of({"approvals": said}))


@pytest.mark.parametrize(
    ("said", "used", "status"),
    [
        ({"allow": ["act"]}, WRITES, "success"),
        ({"allow": ["other"]}, WRITES, "denied"),
        ({"allow": ["Giver:act"]}, WRITES, "success"),
        ({"allow": ["Giver:act"]}, "act", "success"),
        ({"allow": ["Giver:act"]}, made(effect="write"), "denied"),
        ({"ask": ["act"]}, READS, "denied"),
        ({"ask": ["act"], "allow": ["act"]}, READS, "denied"),
        ({"deny": ["act"], "allow": ["act"]}, READS, "denied"),
        ({}, READS, "success"),
    ],
)
async def test_a_user_says_in_the_configuration_what_is_allowed_asked_and_denied(
    said: Any, used: Any, status: str
) -> None:
    assert outcome(await read(agent_of(used, runtime=configured(**said))))[0] == status


def test_a_tool_of_a_plugin_that_the_configuration_misspells_is_an_error_and_not_silence() -> None:
    with pytest.raises(ConfigError, match=r"'Giver:akt' under 'approvals.deny'.*there is no tool 'Giver:akt'"):
        configured(deny=["Giver:akt"])


def test_where_the_configuration_is_shown_such_a_tool_is_a_problem() -> None:
    config = Config.of({"approvals": {"deny": ["x:y"]}}, lenient=True)
    assert "there is no tool" in Runtime(discover=False, config=config).config_report().problems[0]
