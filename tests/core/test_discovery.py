"""Finding plugins: real metadata on disk, on a search path given to `discover` or in a subprocess."""

from __future__ import annotations

import os
import shutil
import site
import subprocess
import sys
import zipfile
from importlib.metadata import version as installed_version
from typing import TYPE_CHECKING

import becket
import pytest
from becket._names import canonical
from becket.discovery import discover, passed_over, unmet_requirement
from hypothesis import assume, example, given
from hypothesis import strategies as st
from packaging.specifiers import SpecifierSet
from packaging.version import Version

if TYPE_CHECKING:
    from pathlib import Path

    from becket.discovery import Candidate


def lay_out(
    folder: Path,
    name: str,
    entry_points: str = "",
    *,
    version: str = "1.0",
    requires: tuple[str, ...] = (),
    metadata: bool = True,
) -> Path:
    """Install a distribution into `folder`, as an installer does; the folder of its metadata."""
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    if metadata:
        lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
        lines += [f"Requires-Dist: {requirement}" for requirement in requires]
        (info / "METADATA").write_text("\n".join(lines) + "\n")
    if entry_points:
        (info / "entry_points.txt").write_text(f"[console_scripts]\nrun = run:main\n\n[becket]\n{entry_points}\n")
    return info


def found(*folders: Path, version: str = "0.1.0") -> list[Candidate]:
    return discover(version, path=[str(folder) for folder in folders])


def seen(*folders: Path) -> list[tuple[str, str, str]]:
    return [(one.name, one.distribution, one.version) for one in found(*folders)]


# -- what is found -----------------------------------------------------------------------------------------------------


def test_a_plugin_is_found_with_its_distribution_and_version(tmp_path: Path) -> None:
    lay_out(tmp_path, "becket-weather", "weather = becket_weather:plugin", version="0.3.1")
    [one] = found(tmp_path)
    assert (one.name, one.value, one.refusal) == ("weather", "becket_weather:plugin", "")
    assert (one.distribution, one.version) == ("becket-weather", "0.3.1")


def test_distributions_without_the_group_are_no_plugins(tmp_path: Path) -> None:
    lay_out(tmp_path, "other")
    (lay_out(tmp_path, "near") / "entry_points.txt").write_text("[becket.more]\nx = y\n")
    assert found(tmp_path) == []


def test_plugins_come_by_name_whatever_order_they_were_installed_in(tmp_path: Path) -> None:
    for name in ("c", "a", "d", "b"):
        lay_out(tmp_path / name, f"becket-{name}", f"{name} = mod_{name}")
    folders = [tmp_path / name for name in ("d", "b", "a", "c")]
    assert [one.name for one in found(*folders)] == ["a", "b", "c", "d"]
    assert [one.name for one in found(*reversed(folders))] == ["a", "b", "c", "d"]


def test_looking_imports_nothing(tmp_path: Path) -> None:
    (tmp_path / "becket_loud.py").write_text("raise SystemExit('imported')")
    lay_out(tmp_path, "becket-loud", "loud = becket_loud")
    assert seen(tmp_path) == [("loud", "becket-loud", "1.0")]
    assert "becket_loud" not in sys.modules


def test_a_plugin_in_a_zip_file_is_found(tmp_path: Path) -> None:
    info = lay_out(tmp_path / "made", "becket-zipped", "zipped = becket_zipped")
    with zipfile.ZipFile(tmp_path / "becket_zipped.zip", "w") as archive:
        for file in info.iterdir():
            archive.write(file, f"{info.name}/{file.name}")
    assert seen(tmp_path / "becket_zipped.zip") == [("zipped", "becket-zipped", "1.0")]


# -- duplicates and remains --------------------------------------------------------------------------------------------


def test_one_distribution_found_twice_counts_once_and_the_first_on_the_path_wins(tmp_path: Path) -> None:
    lay_out(tmp_path / "first", "becket-x", "x = becket_x", version="1.0")
    lay_out(tmp_path / "second", "Becket_X", "x = becket_x.new", version="2.0")
    assert seen(tmp_path / "first", tmp_path / "second") == [("x", "becket-x", "1.0")]
    assert seen(tmp_path / "second", tmp_path / "first") == [("x", "Becket_X", "2.0")]


def test_of_two_versions_in_one_folder_the_older_one_was_left_behind(tmp_path: Path) -> None:
    """Whatever order the file system lists them in; and 1.10 is newer than 1.9."""
    for version in ("1.9", "1.10", "1.2.7"):
        lay_out(tmp_path, "becket-x", "x = becket_x", version=version)
    assert seen(tmp_path) == [("x", "becket-x", "1.10")]
    left = passed_over(becket.__version__, path=[str(tmp_path)])
    assert sorted(one.candidate.version for one in left) == ["1.2.7", "1.9"]
    assert {one.by.version for one in left} == {"1.10"}


def test_an_entry_point_declared_twice_counts_once(tmp_path: Path) -> None:
    """An editable install beside the build it was made from: two distributions' metadata, one entry point."""
    lay_out(tmp_path / "a", "becket-x", "x = becket_x")
    lay_out(tmp_path / "b", "becket-x-editable", "x = becket_x")
    assert seen(tmp_path / "a", tmp_path / "b") == [("x", "becket-x", "1.0")]


def test_one_name_with_two_values_is_two_plugins(tmp_path: Path) -> None:
    lay_out(tmp_path, "becket-b", "fs = becket_b")
    lay_out(tmp_path, "becket-a", "fs = becket_a")
    assert seen(tmp_path) == [("fs", "becket-a", "1.0"), ("fs", "becket-b", "1.0")]


def test_remains_without_metadata_give_way_to_the_real_distribution(tmp_path: Path) -> None:
    lay_out(tmp_path / "a", "becket-x", "x = becket_x", version="0.1", metadata=False)
    lay_out(tmp_path / "b", "becket-x", "x = becket_x", version="0.2")
    [one] = found(tmp_path / "a", tmp_path / "b")
    assert (one.version, one.refusal) == ("0.2", "")


@pytest.mark.parametrize("name", ["becket_gone-0.4.dist-info", "becket_gone.egg-info"])
def test_a_plugin_whose_metadata_is_lost_is_shown_and_refused_and_the_others_are_found(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "entry_points.txt").write_text("[becket]\ngone = becket_gone\n")
    lay_out(tmp_path, "becket-there", "there = becket_there")
    gone, there = found(tmp_path)
    assert (gone.name, gone.distribution, gone.version) == ("gone", "becket-gone", "0.4" if "-0.4" in name else "?")
    assert "its metadata is lost" in gone.refusal
    assert there.refusal == ""


def test_metadata_without_name_or_version_is_survived(tmp_path: Path) -> None:
    info = lay_out(tmp_path, "becket-bare", "bare = becket_bare")
    (info / "METADATA").write_text("Metadata-Version: 2.1\n")
    [one] = found(tmp_path)
    assert (one.distribution, one.version) == ("becket-bare", "1.0")
    assert "its metadata is lost" in one.refusal


@pytest.mark.parametrize("content", [b"[becket]\nx becket_x\n", b"[becket]\nx = becket_x\n[\xff\xfe]\n"])
def test_entry_points_that_cannot_be_read_are_shown_and_stop_no_other(tmp_path: Path, content: bytes) -> None:
    (lay_out(tmp_path, "becket-odd") / "entry_points.txt").write_bytes(content)
    lay_out(tmp_path, "becket-there", "there = becket_there")
    odd, there = found(tmp_path)
    assert (odd.name, odd.distribution) == ("becket-odd", "becket-odd")
    assert "its entry_points.txt" in odd.refusal
    assert "reinstall or uninstall it" in odd.refusal
    assert odd.load() is None
    assert there.refusal == ""


def test_unreadable_entry_points_of_others_are_none_of_our_business(tmp_path: Path) -> None:
    (lay_out(tmp_path, "foreign") / "entry_points.txt").write_bytes(b"[console_scripts]\n\xff = x:y\n")
    assert found(tmp_path) == []


# -- the working directory ---------------------------------------------------------------------------------------------

SHOW = """
import sys
from becket.discovery import discover
print([(one.name, one.version, one.refusal) for one in discover("0.1.0") if one.distribution == "becket-evil"])
"""


def shown_from(folder: Path, *options: str, **environ: str) -> str:
    """What a process that runs in `folder` finds of becket-evil."""
    env = {**os.environ, "PYTHONWARNINGS": "error", **environ}
    ran = subprocess.run(  # noqa: S603  this interpreter
        [sys.executable, *options, "-c", SHOW], cwd=folder, env=env, capture_output=True, text=True, check=True
    )
    return ran.stdout


def test_a_distribution_in_the_working_directory_is_refused_where_the_path_has_it_as_an_empty_string(
    tmp_path: Path,
) -> None:
    lay_out(tmp_path, "becket-evil", "evil = becket_evil")
    shown = shown_from(tmp_path)
    assert "it lies in the working directory" in shown
    assert str(tmp_path.resolve()) in shown


def test_a_distribution_in_the_working_directory_is_refused_where_the_path_names_it(tmp_path: Path) -> None:
    lay_out(tmp_path, "becket-evil", "evil = becket_evil")
    shown = shown_from(tmp_path, "-P", PYTHONPATH=str(tmp_path))
    assert "it lies in the working directory" in shown


def test_a_link_to_the_working_directory_is_the_working_directory(tmp_path: Path) -> None:
    lay_out(tmp_path / "real", "becket-evil", "evil = becket_evil")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert "it lies in" in shown_from(tmp_path / "real", "-P", PYTHONPATH=str(tmp_path / "link"))


def test_the_same_folder_on_the_path_is_trusted_from_elsewhere(tmp_path: Path) -> None:
    lay_out(tmp_path / "lib", "becket-evil", "evil = becket_evil")
    assert shown_from(tmp_path, PYTHONPATH=str(tmp_path / "lib")).strip() == "[('evil', '1.0', '')]"


def test_what_lies_in_the_working_directory_cannot_displace_what_is_installed(tmp_path: Path) -> None:
    """Else an agent could switch off a policy by writing metadata of the same name, which comes first on the path."""
    lay_out(tmp_path / "work", "becket-evil", "evil = becket_evil", version="9")
    lay_out(tmp_path / "lib", "becket-evil", "evil = becket_evil", version="1.0")
    assert shown_from(tmp_path / "work", PYTHONPATH=str(tmp_path / "lib")).strip() == "[('evil', '1.0', '')]"


def test_nor_can_another_distribution_that_declares_the_same_entry_point(tmp_path: Path) -> None:
    lay_out(tmp_path / "work", "becket-aaa", "evil = becket_evil")
    lay_out(tmp_path / "lib", "becket-evil", "evil = becket_evil")
    assert shown_from(tmp_path / "work", PYTHONPATH=str(tmp_path / "lib")).strip() == "[('evil', '1.0', '')]"


def test_an_editable_install_of_the_working_directory_is_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its source lies here, and even remains of a build; its metadata lies with the other installed ones."""
    lay_out(tmp_path / "site-packages", "becket-mine", "mine = becket_mine", version="0.2")
    (tmp_path / "work" / "becket_mine.egg-info").mkdir(parents=True)
    (tmp_path / "work" / "becket_mine.egg-info" / "entry_points.txt").write_text("[becket]\nmine = becket_mine\n")
    (tmp_path / "work" / "becket_mine.egg-info" / "PKG-INFO").write_text("Name: becket-mine\nVersion: 0.1\n")
    monkeypatch.chdir(tmp_path / "work")
    [one] = discover("0.1.0", path=["", str(tmp_path / "site-packages"), str(tmp_path / "work")])
    assert (one.version, one.refusal) == ("0.2", "")


def test_site_packages_that_is_the_working_directory_is_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay_out(tmp_path, "becket-here", "here = becket_here")
    monkeypatch.chdir(tmp_path)
    assert "it lies in the working directory" in found(tmp_path)[0].refusal
    monkeypatch.setattr(site, "PREFIXES", [])
    monkeypatch.setattr(site, "USER_SITE", str(tmp_path))
    assert found(tmp_path)[0].refusal == ""


def test_a_working_directory_that_was_removed_is_survived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lay_out(tmp_path / "lib", "becket-x", "x = becket_x")
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    shutil.rmtree(tmp_path / "gone")
    assert [one.refusal for one in discover("0.1.0", path=["", str(tmp_path / "lib")])] == [""]
    monkeypatch.chdir(tmp_path)


# -- requirements ------------------------------------------------------------------------------------------------------


def test_a_plugin_for_another_version_of_becket_is_refused_and_told_why(tmp_path: Path) -> None:
    lay_out(tmp_path, "becket-new", "new = becket_new", requires=("httpx>=9", "becket<0.9,>=0.5"))
    [one] = found(tmp_path)
    assert one.refusal == "it asks for becket >=0.5, and this is becket 0.1.0; upgrade one of the two"


@pytest.mark.parametrize(
    "requirement",
    [
        "becket-tools<9,>=2",
        "becket.tools<9,>=2",
        "becket_tools <9, >=2",
        "beckett<9,>=2",
        "not-becket>=2",
        "becket",
        "becket @ file:///elsewhere",
        "becket>=2; extra == 'test'",
        "becket>=2; python_version < '3'",
        "becket>=2.0a1",
        "becket===2",
        "becket[cli,extra]",
    ],
)
def test_what_is_no_plain_range_of_becket_itself_is_left_to_the_installer(requirement: str) -> None:
    assert unmet_requirement([requirement], "0.1.0") == ""


@pytest.mark.parametrize(
    "requirement",
    ["becket>=2", "Becket >= 2", "becket (>=2)", "becket[cli]>=2", " becket[cli] (<9, >=2) ", "becket!=0.1.*"],
)
def test_every_way_to_write_a_range_is_read(requirement: str) -> None:
    assert "and this is becket 0.1.0" in unmet_requirement(["other<1", requirement], "0.1.0")


def test_a_development_version_counts_as_the_release_it_leads_to() -> None:
    assert unmet_requirement(["becket>=0.2,<0.3"], "0.2.0.dev4+local") == ""
    assert unmet_requirement(["becket>=0.2"], "unknown") != ""


# -- the version of the plugin API -------------------------------------------------------------------------------------


def declare(folder: Path, *groups: str) -> str:
    """Install a distribution that declares one plugin in each of these groups; why it is refused."""
    text = "".join(f"[{group}]\nx = becket_x_{number}\n" for number, group in enumerate(groups))
    (lay_out(folder, "becket-x") / "entry_points.txt").write_text(text)
    [one] = found(folder)
    assert one.value == "becket_x_0"
    return one.refusal


def test_a_plugin_of_a_later_api_is_found_and_refused_in_words(tmp_path: Path) -> None:
    refusal = declare(tmp_path, "becket.v2", "becket.v1")
    assert refusal == "it speaks version 2 of the plugin API, and this becket speaks 1; upgrade becket"


def test_a_plugin_of_an_earlier_api_is_the_one_to_upgrade(tmp_path: Path) -> None:
    assert declare(tmp_path, "becket.v0").endswith("and this becket speaks 1; upgrade the plugin")


def test_a_distribution_that_speaks_several_versions_is_taken_at_ours(tmp_path: Path) -> None:
    assert declare(tmp_path, "becket", "becket.v2") == ""


def test_the_group_of_version_1_has_one_name(tmp_path: Path) -> None:
    assert "which is called 'becket'" in declare(tmp_path, "becket.v1")


@pytest.mark.parametrize("text", ["[becket]\n", "[becket.v2]\n", "[becket.vx]\na = b\n", "[becket.v2.x]\na = b\n"])
def test_a_group_without_plugins_and_one_that_only_looks_like_ours_are_none(tmp_path: Path, text: str) -> None:
    (lay_out(tmp_path, "near") / "entry_points.txt").write_text(text)
    assert found(tmp_path) == []


RELEASES = st.lists(st.integers(0, 3), min_size=1, max_size=4).map(lambda parts: ".".join(map(str, parts)))


@st.composite
def clauses(draw: st.DrawFn) -> str:
    comparison = draw(st.sampled_from(["==", "!=", "<=", ">=", "<", ">", "~="]))
    release = draw(RELEASES)
    assume(comparison != "~=" or "." in release)
    wildcard = draw(st.booleans()) if comparison in ("==", "!=") else False
    blank = draw(st.sampled_from(["", " "]))
    return f"{comparison}{blank}{release}{'.*' if wildcard else ''}"


@given(st.lists(clauses(), min_size=1, max_size=3), RELEASES)
@example(["~=2.2.0"], "2.2")
@example(["==1.0.*"], "1")
@example(["!=1.0"], "1")
def test_ranges_of_plain_releases_mean_what_packaging_says_they_mean(ranges: list[str], version: str) -> None:
    text = ",".join(ranges)
    assert (unmet_requirement([f"becket{text}"], version) == "") == SpecifierSet(text).contains(Version(version))


# -- names and versions ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Becket_Tools", "becket.tools", "becket-_.tools", "BECKET-TOOLS"])
def test_names_are_compared_as_distributions_are(name: str) -> None:
    assert canonical(name) == "becket-tools"


def test_the_version_in_the_code_is_the_one_that_was_installed() -> None:
    assert becket.__version__ == installed_version("becket")


def test_importing_becket_reads_no_metadata() -> None:
    code = """
import sys
import becket
print([name for name in sys.modules if name.startswith(("importlib_metadata", "importlib.metadata"))])
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603  this interpreter
    assert ran.stdout.strip() == "[]"
