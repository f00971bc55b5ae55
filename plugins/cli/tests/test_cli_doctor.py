"""What `becket doctor` says of environments that are broken, each in one way."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

TOOL = 'from becket import tool\n@tool(effect="none")\ndef {name}() -> str:\n    "A tool."\n    return ""\n'


@pytest.fixture
def doctor(becket: Any, tmp_path: Path) -> Any:
    """Runs `becket doctor --json` in a folder of its own, and gives its exit code and its findings by kind."""
    here = tmp_path / "here"
    here.mkdir()
    becket.env["VIRTUAL_ENV"] = ""

    def run(*arguments: str, **more: Any) -> tuple[int, dict[str, list[dict[str, Any]]]]:
        ended = becket("doctor", "--json", *arguments, **({"cwd": here} | more))
        assert "Traceback" not in ended.stderr
        found: dict[str, list[dict[str, Any]]] = {}
        for one in json.loads(ended.stdout)["findings"]:
            found.setdefault(one["kind"], []).append(one)
        return ended.returncode, found

    return run


def test_a_healthy_environment_has_no_problem(doctor: Any) -> None:
    code, found = doctor()
    assert code == 0
    assert not [one for of_kind in found.values() for one in of_kind if one["problem"]]


def test_a_plugin_that_cannot_be_imported_is_shown_from_its_own_code_on(becket: Any, doctor: Any) -> None:
    becket.install("broken", "def load():\n    import not_there_at_all\nload()", version="0.3")
    code, found = doctor()
    (one,) = found["quarantined"]
    assert code == 1
    assert one["about"] == "becket-broken 0.3"
    assert "No module named 'not_there_at_all'" in one["what"]
    assert "Install what has the module 'not_there_at_all'" in one["do"]
    assert "becket_broken.py" in one["traceback"].splitlines()[1]  # and not a frame of becket


@pytest.mark.parametrize(
    ("source", "more", "says"),
    [
        (
            "from becket import hookimpl\n@hookimpl\ndef register_tool(): return []",
            {},
            "no hook 'register_tool'; did you mean 'register_tools'?",
        ),
        ("", {}, "it implements no hook and holds no tool"),
        ("def f(:", {}, "SyntaxError"),
        (
            "from becket import hookimpl\n@hookimpl\ndef register_commands(cli): raise OSError('no luck')",
            {},
            "its register_commands failed: OSError: no luck",
        ),
    ],
    ids=["misspelt hook", "nothing in it", "no Python", "its commands"],
)
def test_what_is_left_out_is_a_problem_with_its_reason(
    becket: Any, doctor: Any, source: str, more: dict[str, str], says: str
) -> None:
    becket.install("broken", source, **more)
    code, found = doctor()
    (one,) = found["quarantined"]
    assert code == 1
    assert says in one["what"]
    assert "uninstall it" in one["do"]


def _another_becket(becket: Any) -> None:
    becket.install("broken", TOOL.format(name="t"), requires="becket>=9")


def _later_api(becket: Any) -> None:
    becket.install("broken", TOOL.format(name="t"))
    (becket.site / "becket_broken-1.0.dist-info" / "entry_points.txt").write_text("[becket.v2]\nx = becket_broken\n")


def _no_module(becket: Any) -> None:
    becket.install("broken", "")
    (becket.site / "becket_broken.py").unlink()


@pytest.mark.parametrize(
    ("breaks", "says"),
    [
        (_another_becket, "it asks for becket >=9, and this is becket 0.1.0; upgrade one of the two."),
        (_later_api, "it speaks version 2 of the plugin API, and this becket speaks 1; upgrade becket."),
        (_no_module, "reinstall or uninstall becket-broken."),
    ],
    ids=["another becket", "a later API", "no module"],
)
def test_where_the_reason_says_what_to_do_no_other_advice_is_given(
    becket: Any, doctor: Any, breaks: Any, says: str
) -> None:
    breaks(becket)
    code, found = doctor()
    (one,) = found["quarantined"]
    assert (code, one["do"]) == (1, "")
    assert one["what"].endswith(says)
    told = becket("tools").stderr
    assert f"{says} -p no:" in told
    assert "Upgrade or uninstall" not in told


def test_an_editable_install_whose_folder_is_gone_is_an_orphan(becket: Any, doctor: Any, tmp_path: Path) -> None:
    becket.install("orphan", "")
    (becket.site / "becket_orphan.py").unlink()
    said = {"url": (tmp_path / "gone").as_uri(), "dir_info": {"editable": True}}
    (becket.site / "becket_orphan-1.0.dist-info" / "direct_url.json").write_text(json.dumps(said))
    _, found = doctor()
    (one,) = found["orphaned"]
    assert f"in editable form from {tmp_path / 'gone'}, which is no longer there" in one["what"]
    assert "becket uninstall orphan" in one["do"]


def test_what_lies_in_the_working_directory_is_never_said_to_be_upgraded(becket: Any, doctor: Any) -> None:
    becket.install("evil", "raise SystemExit('imported')")
    code, found = doctor(cwd=becket.site)
    (one,) = found["untrusted"]
    assert code == 1
    assert one["do"].startswith("Delete it")
    assert "imported" not in one["what"]


def test_two_tools_of_one_name_are_a_problem_that_names_all_who_give_it(becket: Any, doctor: Any) -> None:
    for name in ("one", "two", "three"):
        becket.install(name, TOOL.format(name="twin"))
    code, found = doctor()
    (one,) = found["same-name"]
    assert code == 1
    assert "The tool 'twin' is given by becket-one 1.0, becket-three 1.0 and becket-two 1.0" in one["what"]


def test_two_plugins_of_one_name_are_a_problem(becket: Any, doctor: Any) -> None:
    for name in ("one", "two"):
        becket.install(name, TOOL.format(name=name))
        (becket.site / f"becket_{name}-1.0.dist-info" / "entry_points.txt").write_text(f"[becket]\nx = becket_{name}\n")
    _, found = doctor()
    (one,) = found["same-name"]
    assert "becket-one 1.0 and becket-two 1.0 each have a plugin named 'x'" in one["what"]


def test_one_entry_point_of_two_distributions_is_a_problem(becket: Any, doctor: Any) -> None:
    becket.install("one", TOOL.format(name="t"))
    becket.install("two", "")
    (becket.site / "becket_two-1.0.dist-info" / "entry_points.txt").write_text("[becket]\none = becket_one\n")
    _, found = doctor()
    (one,) = found["duplicate-plugin"]
    assert "that of becket-one is in use" in one["what"]


def test_metadata_that_an_upgrade_has_left_behind_is_a_note(becket: Any, doctor: Any) -> None:
    becket.install("twice", TOOL.format(name="t"))
    becket.install("twice", TOOL.format(name="t"), version="0.9")
    code, found = doctor()
    (one,) = found["duplicate-distribution"]
    assert (code, one["problem"]) == (0, False)
    assert "is in use, and 0.9 in " in one["what"]


def test_a_slow_import_is_a_note_with_its_time(becket: Any, doctor: Any) -> None:
    becket.install("slow", f"import time\ntime.sleep(0.6)\n{TOOL.format(name='t')}")
    code, found = doctor()
    assert code == 0
    assert any("The plugin 'slow' (becket-slow 1.0) took 0." in one["what"] for one in found["slow"])


def test_a_hook_that_nobody_has_marked_is_a_note(becket: Any, doctor: Any) -> None:
    becket.install("forgot", f"{TOOL.format(name='t')}\ndef register_sinks(): return []")
    _, found = doctor()
    (one,) = found["unmarked-hook"]
    assert "a function named register_sinks" in one["what"]
    assert "becket-forgot" in one["about"]


def test_another_environment_that_is_activated_is_a_problem(becket: Any, doctor: Any, tmp_path: Path) -> None:
    becket.env["VIRTUAL_ENV"] = str(tmp_path)
    code, found = doctor()
    (one,) = found["other-environment"]
    assert code == 1
    assert str(tmp_path) in one["what"]


def test_another_command_that_comes_first_is_noted(becket: Any, doctor: Any, tmp_path: Path) -> None:
    other = tmp_path / "becket"
    other.write_text("#!/usr/bin/python\n")
    other.chmod(0o755)
    becket.env["PATH"] = f"{tmp_path}:{becket.env['PATH']}"
    _, found = doctor()
    (one,) = found["other-command"]
    assert one["about"] == str(other)


KEYED = """
from becket import ConfigError, hookimpl
from becket.testing import ScriptedProvider, text

class Keyed(ScriptedProvider):
    def check_key(self):
        raise {error}

@hookimpl
def register_providers():
    return [Keyed(text("x"), name="keyed", model="large")]
"""


def test_a_missing_key_is_a_note_until_its_model_is_the_chosen_one(becket: Any, doctor: Any) -> None:
    becket.install("keyed", KEYED.format(error="ConfigError('the provider has no key; set KEYED_KEY')"))
    code, found = doctor()
    says = {one["about"]: one for one in found["key"]}
    assert (code, says["keyed"]["problem"]) == (0, False)
    assert says["keyed"]["what"] == "The provider has no key; set KEYED_KEY."
    becket.env["BECKET_MODEL"] = "keyed:large"
    code, found = doctor()
    says = {one["about"]: one for one in found["key"]}
    assert (code, says["keyed"]["problem"]) == (1, True)


def test_a_provider_that_breaks_while_it_is_asked_does_not_hide_the_others(becket: Any, doctor: Any) -> None:
    becket.install("keyed", KEYED.format(error="OSError('no luck')"))
    code, found = doctor()
    says = {one["about"]: one["what"] for one in found["key"]}
    assert code == 1
    assert says["keyed"] == "OSError: no luck."
    assert "ANTHROPIC_API_KEY" in says["anthropic"]


def test_a_configuration_that_is_wrong_is_a_problem(becket: Any, doctor: Any) -> None:
    own = becket.site.parent / "config" / "becket" / "becket.toml"
    own.parent.mkdir(parents=True)
    own.write_text('modle = "x"\nmodel = "nobody:x"\n[plugins.tols]\na = 1')
    code, found = doctor()
    said = " ".join(one["what"] for one in found["configuration"])
    assert code == 1
    assert "did you mean 'model'?" in said
    assert "there is no provider 'nobody'" in said
    assert "did you mean 'tools'?" in found["configuration-remark"][0]["what"]


def test_what_has_changed_since_a_lock_was_written_is_a_problem(becket: Any, doctor: Any, tmp_path: Path) -> None:
    becket.install("one", TOOL.format(name="t"))
    assert becket("lock", cwd=tmp_path / "here").returncode == 0
    (becket.site / "becket_one.py").write_text(TOOL.format(name="other"))
    code, found = doctor()
    (one,) = found["lock"]
    assert code == 1
    assert "Since becket.lock was written: becket-one 1.0: its files are not those that were locked" in one["what"]


def test_nothing_is_imported_that_differs_from_the_lock_that_lies_here(
    becket: Any, doctor: Any, tmp_path: Path
) -> None:
    becket.install("one", TOOL.format(name="t"))
    assert becket("lock", cwd=tmp_path / "here").returncode == 0
    loud = f"import pathlib\npathlib.Path({str(tmp_path / 'imported')!r}).touch()\n"
    (becket.site / "becket_one.py").write_text(loud + TOOL.format(name="t"))
    becket.install("new", loud + TOOL.format(name="n"))
    _, found = doctor()
    assert not (tmp_path / "imported").exists()
    said = [one["what"] for one in found["lock"]]
    assert len(said) == 2  # each is told once, as a difference
    assert any("becket-one 1.0: its files are not those that were locked" in what for what in said)
    assert any("becket-new 1.0: it is not in the lock" in what for what in said)
    assert "quarantined" not in found
    assert "configuration" not in found


def test_a_lock_that_is_none_is_a_problem_and_no_end(becket: Any, doctor: Any, tmp_path: Path) -> None:
    (tmp_path / "here" / "becket.lock").write_text("nonsense")
    code, found = doctor()
    assert code == 1
    assert "is none" in found["lock"][0]["what"]


def test_people_read_a_paragraph_each_and_at_last_how_many(becket: Any, tmp_path: Path) -> None:
    becket.install("broken", "raise ValueError('\\x1b[31mno luck')")
    ended = becket("doctor", cwd=tmp_path)
    assert ended.returncode == 1
    assert "\nPlugins\n\n  problem: The plugin 'broken' (becket-broken 1.0) is left out: " in ended.stdout
    assert ended.stdout.splitlines()[-1].startswith("1 problem, ")
    assert "\x1b" not in ended.stdout
    assert ended.stderr == ""


def test_colours_are_for_a_terminal_whose_user_has_not_refused_them(on_terminal: Any, becket: Any) -> None:
    shown = on_terminal("doctor")
    shown.end()
    assert "\x1b[" in shown.seen
    becket.env["NO_COLOR"] = "1"
    shown = on_terminal("doctor")
    shown.end()
    assert "\x1b[" not in shown.seen
