"""The clock: which place means which time, on a day and an hour that each test fixes."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from importlib import resources
from zoneinfo import ZoneInfo

import pytest
from becket import ToolError
from becket_tools import current_time
from becket_tools._clock import _ALSO, _COUNTRY_ALSO, _zones_of_country, describe
from hypothesis import given
from hypothesis import strategies as st

WINTER = datetime(2026, 11, 22, 13, 5, 9, tzinfo=UTC)
SUMMER = datetime(2026, 7, 1, 12, 0, 0, tzinfo=UTC)


def test_the_answer_holds_date_time_zone_offset_and_day() -> None:
    assert describe(WINTER, "Paris") == "2026-11-22 14:05:09 CET (Europe/Paris, UTC+01:00), Sunday"


def test_summer_time_is_known() -> None:
    assert describe(SUMMER, "Paris") == "2026-07-01 14:00:00 CEST (Europe/Paris, UTC+02:00), Wednesday"


@pytest.mark.parametrize(
    ("place", "zone"),
    [
        ("Europe/Paris", "Europe/Paris"),
        ("europe/paris", "Europe/Paris"),
        ("New York", "America/New_York"),
        ("new_york", "America/New_York"),
        ("  tokyo ", "Asia/Tokyo"),
        ("S\u00e3o Paulo", "America/Sao_Paulo"),
        ("Port-au-Prince", "America/Port-au-Prince"),
        ("Knox", "America/Indiana/Knox"),
        ("Paris, France", "Europe/Paris"),
        ("New York, USA", "America/New_York"),
        ("Washington D.C.", "America/New_York"),
        ("Mumbai", "Asia/Kolkata"),
        ("Germany", "Europe/Berlin"),
        ("UK", "Europe/London"),
        ("South Korea", "Asia/Seoul"),
        ("Myanmar", "Asia/Yangon"),
        ("Antigua and Barbuda", "America/Antigua"),
        ("Samoa", "Pacific/Apia"),
        ("American Samoa", "Pacific/Pago_Pago"),
        ("China", "Asia/Shanghai"),
        ("PST", "America/Los_Angeles"),
        ("Etc/GMT+2", "Etc/GMT+2"),
        ("etc/gmt-14", "Etc/GMT-14"),
    ],
)
def test_a_place_is_found_by_the_names_people_give_it(place: str, zone: str) -> None:
    assert f"({zone}, UTC" in describe(WINTER, place)


@pytest.mark.parametrize(
    ("place", "answer"),
    [
        ("UTC", "13:05:09 UTC (UTC+00:00)"),
        ("GMT", "13:05:09 GMT (UTC+00:00)"),
        ("CET", "14:05:09 CET (UTC+01:00)"),
        ("GMT+2", "15:05:09 UTC+02:00"),
        ("utc - 3:30", "09:35:09 UTC-03:30"),
        ("+0530", "18:35:09 UTC+05:30"),
        ("UTC\N{MINUS SIGN}5", "08:05:09 UTC-05:00"),
        ("UTC+0", "13:05:09 UTC (UTC+00:00)"),
        ("Etc/GMT+2", "11:05:09 (Etc/GMT+2, UTC-02:00)"),  # the database counts westwards under this name
    ],
)
def test_an_offset_counts_eastwards_as_people_write_it(place: str, answer: str) -> None:
    assert describe(WINTER, place) == f"2026-11-22 {answer}, Sunday"


def test_a_zone_without_letters_shows_none() -> None:
    assert describe(WINTER, "Sao Paulo") == "2026-11-22 10:05:09 (America/Sao_Paulo, UTC-03:00), Sunday"


@pytest.mark.parametrize("place", ["", " ", "here", "local", "Now"])
def test_without_a_place_it_is_the_local_time(place: str) -> None:
    local = timezone(timedelta(hours=-3), "ABC")
    assert describe(WINTER, place, local=local) == "2026-11-22 10:05:09 ABC (local time, UTC-03:00), Sunday"


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("Pairs", "did you mean Europe/Paris?"),
        ("Tokio", "Asia/Tokyo"),
        ("Germny", "Germany"),
        ("Xyzzy", "zones such as Europe/Paris"),
        ("Paris, Texas", "does not have 'Paris, Texas'"),
        ("Atlantis, France", "does not have"),
        ("USA", "several time zones.*America/New_York, America/Chicago"),
        ("Congo", "does not have"),
        ("IST", "does not have"),
        ("GMT+25", "offsets go to 14 hours"),
        ("UTC+14:30", "offsets go to 14 hours"),
        ("../../etc/passwd", "does not have"),
        ("x" * 1_000_000, "at most 100 characters"),
        ("\x00", "does not have"),
    ],
)
def test_an_unknown_place_is_refused_with_what_to_give_instead(place: str, said: str) -> None:
    with pytest.raises(ToolError, match=said) as caught:
        describe(WINTER, place)
    assert len(str(caught.value)) < 400


def test_every_zone_of_the_database_is_found_by_its_name() -> None:
    zones = resources.files("tzdata").joinpath("zones").read_text("utf-8").split()
    found = {zone: describe(WINTER, zone)[:19] for zone in zones}
    assert found == {zone: f"{WINTER.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M:%S}" for zone in zones}


@pytest.mark.parametrize("name", sorted(_ALSO))
def test_every_further_name_of_a_place_has_a_time(name: str) -> None:
    assert f"{WINTER.astimezone(ZoneInfo(_ALSO[name])):%H:%M:%S}" in describe(WINTER, name)


@pytest.mark.parametrize("name", sorted(_COUNTRY_ALSO))
def test_every_further_name_of_a_country_is_understood(name: str) -> None:
    assert _zones_of_country(name)


@given(st.text(), st.datetimes(min_value=datetime(1971, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001  Hypothesis adds the zone
def test_any_text_gives_a_time_or_a_tool_error(place: str, now: datetime) -> None:
    try:
        answer = describe(now, place)
    except ToolError as error:
        answer = str(error)
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d |.{,600}give ", answer, re.DOTALL)


def test_the_tool_reads_the_clock() -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    told = datetime.strptime(current_time("UTC")[:19], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    assert before <= told <= datetime.now(UTC)
