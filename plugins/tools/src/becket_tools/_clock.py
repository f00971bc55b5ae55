"""What time it is in a place: its name is looked up in the time zone database, and the time there made a text.

Names come from the database's own tables in the package `tzdata` (the zones, and the countries they lie in), so there
is no list of places here to grow old, but for a few names that people use and the database does not have.
"""

from __future__ import annotations

import functools
import importlib.resources
import re
import unicodedata
from datetime import datetime, timedelta, timezone, tzinfo
from typing import NoReturn
from zoneinfo import ZoneInfo

from becket import ToolError

__all__ = ["describe"]

_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")  # strftime would use the locale
_LOCAL = frozenset({"", "local", "local time", "here", "now", "none", "null"})  # models fill in what could be left out
_OFFSET = re.compile(r"(?:utc|gmt)?\s*([+-])\s*([0-9]{1,2})(?::?([0-5][0-9]))?")
_MAX_OFFSET = timedelta(hours=14)  # Kiritimati; nothing on Earth is further from UTC
_MAX_NAME = 100
_SHOWN = 6  # names in an error message

_ALSO = {
    # Abbreviations that mean one zone to everybody. CST, IST, BST and AST do not, and stay unknown.
    "z": "UTC",
    "cest": "Europe/Paris",
    "edt": "America/New_York",
    "cdt": "America/Chicago",
    "mdt": "America/Denver",
    "pst": "America/Los_Angeles",
    "pdt": "America/Los_Angeles",
    "jst": "Asia/Tokyo",
    # Countries: all of China goes by Beijing's time, and the zone Pacific/Samoa is American Samoa, not Samoa.
    "china": "Asia/Shanghai",
    "samoa": "Pacific/Apia",
    # Cities that are among the first that people ask for, and not in the database.
    "bangalore": "Asia/Kolkata",
    "barcelona": "Europe/Madrid",
    "beijing": "Asia/Shanghai",
    "boston": "America/New_York",
    "delhi": "Asia/Kolkata",
    "frankfurt": "Europe/Berlin",
    "geneva": "Europe/Zurich",
    "hamburg": "Europe/Berlin",
    "miami": "America/New_York",
    "milan": "Europe/Rome",
    "montreal": "America/Toronto",
    "mumbai": "Asia/Kolkata",
    "munich": "Europe/Berlin",
    "new delhi": "Asia/Kolkata",
    "osaka": "Asia/Tokyo",
    "rio de janeiro": "America/Sao_Paulo",
    "san francisco": "America/Los_Angeles",
    "seattle": "America/Los_Angeles",
    "washington dc": "America/New_York",
}
_COUNTRY_ALSO = {
    "america": "US",
    "burma": "MM",
    "czech republic": "CZ",
    "england": "GB",
    "great britain": "GB",
    "holland": "NL",
    "scotland": "GB",
    "the netherlands": "NL",
    "turkiye": "TR",
    "uae": "AE",
    "uk": "GB",
    "united kingdom": "GB",
    "usa": "US",
    "wales": "GB",
}


def describe(now: datetime, place: str = "", *, local: tzinfo | None = None) -> str:
    """The time `now` as it is in `place`, such as "2026-11-22 14:05:09 CET (Europe/Paris, UTC+01:00), Sunday".

    Args:
        now: The moment, with a time zone.
        place: What names a time zone: an IANA name, a city, a country of one time, "UTC", "GMT+2"; empty for here.
        local: The time zone here; that of the machine if None.

    Raises:
        ToolError: There is no such place in the database, or it has several times. The text suggests others.
    """
    if _plain(place) in _LOCAL:
        return _show(now.astimezone(local), "local time")
    zone, name = _find(place, now)
    return _show(now.astimezone(zone), name)


def _show(there: datetime, name: str) -> str:
    """The time, with each of the zone's three names (letters, `name`, offset) once."""
    offset = there.strftime("%z")
    letters = there.tzname() or ""
    if not letters[:1].isalpha():
        letters = ""  # "-03" and the like stand for zones that have no letters
    names = ", ".join(known for known in (name, f"UTC{offset[:3]}:{offset[3:5]}") if known != letters)
    bracket = f" ({names})" if names else ""
    return f"{there:%Y-%m-%d %H:%M:%S} {letters}".rstrip() + f"{bracket}, {_DAYS[there.weekday()]}"


def _find(place: str, now: datetime) -> tuple[tzinfo, str]:
    """The time zone that `place` names, and the name to show for it."""
    if len(place) > _MAX_NAME:
        raise ToolError(
            f"a place has at most {_MAX_NAME} characters, this has {len(place)}; give a city or an IANA zone"
        )
    if fixed := _fixed(place):
        return fixed, fixed.tzname(None)
    name = _plain(place)
    key = _etc(place) or _city(place) or _of_country(place, now) or _within(place)
    if key is None:
        _refuse(place, name)
    return ZoneInfo(key), key


def _etc(place: str) -> str | None:
    """The zone `Etc/GMT-3` and its like, whose names differ by a sign that `_plain` takes away."""
    name = place.strip().lower()
    return next((key for key in _listed() if key.startswith("Etc/") and key.lower() == name), None)


def _city(name: str) -> str | None:
    plain = _plain(name)
    return _ALSO.get(plain) or _zones().get(plain)


def _fixed(place: str) -> timezone | None:
    """The zone of "UTC+2", "GMT-3:30" or "+05:30".

    East of Greenwich is plus here, as everybody writes it. The database's own zone `Etc/GMT+2`, which lies two hours
    *west*, is found under its full name only.
    """
    match = _OFFSET.fullmatch(place.strip().lower().replace("\N{MINUS SIGN}", "-"))
    if match is None:
        return None
    offset = timedelta(hours=int(match[2]), minutes=int(match[3] or 0))
    if offset > _MAX_OFFSET:
        raise ToolError(f"{place.strip()!r} is no time zone: offsets go to 14 hours; give a city or an IANA zone")
    return timezone(-offset if match[1] == "-" else offset)


def _of_country(country: str, now: datetime) -> str | None:
    """The zone of a country, where it is the same time everywhere in it."""
    zones = _zones_of_country(country)
    one_each = {now.astimezone(ZoneInfo(key)).utcoffset(): key for key in reversed(zones)}
    if len(one_each) > 1:
        ordered = [key for key in zones if key in one_each.values()]
        raise ToolError(f"{country.strip()} has several time zones; give a city or one of them: {_some(ordered)}")
    return zones[0] if zones else None


def _within(place: str) -> str | None:
    """The zone of "Paris, France": the city, if it is in that country, so that "Paris, Texas" is not taken for it."""
    city, comma, country = place.rpartition(",")
    key = _city(city) if comma else None
    return key if key in _zones_of_country(country) else None


def _zones_of_country(country: str) -> list[str]:
    """The zones of a country in the database's order; empty if there is no such country."""
    code = _countries().get(_plain(country))
    return [key for code_of, key in _table("zone.tab", 0, 2) if code_of == code]


def _refuse(place: str, name: str) -> NoReturn:
    import difflib

    candidates = {**_zones(), **dict.fromkeys(_countries(), ""), **_ALSO}
    near = difflib.get_close_matches(name, candidates, n=_SHOWN, cutoff=0.7)
    suggested = list(dict.fromkeys(candidates[match] or match.title() for match in near))
    hint = f"did you mean {_some(suggested)}? Else" if suggested else "it has zones such as Europe/Paris;"
    raise ToolError(f"the time zone database does not have {place.strip()!r}; {hint} give the nearest big city")


def _some(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def _plain(name: str) -> str:
    """`name` without what people write in different ways: accents, case, dots, and "_", "-", "/", "," between words."""
    bare = "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c))
    return " ".join(re.sub(r"[\s_/,-]+", " ", bare.casefold().replace(".", "").replace("&", " and ")).split())


@functools.cache
def _listed() -> tuple[str, ...]:
    """Every zone of the database."""
    return tuple(importlib.resources.files("tzdata").joinpath("zones").read_text("utf-8").split())


@functools.cache
def _zones() -> dict[str, str]:
    """The zone for each plain name: the whole name, and its last part where that is a place ("paris", "knox")."""
    located = [key for _, key in _table("zone.tab", 0, 2)]
    regions = {key.split("/")[0] for key in located}
    named = {_plain(key): key for key in _listed() if not key.startswith("Etc/GMT")}
    for key in [*located, *_listed()]:  # the located ones first: of two that share a last part, others are old aliases
        if key.split("/")[0] in regions:
            named.setdefault(_plain(key.split("/")[-1]), key)
    return named


@functools.cache
def _countries() -> dict[str, str]:
    """The two-letter code for each plain name of a country."""
    codes: dict[str, str] = {}
    shared: set[str] = set()
    for code, name in _table("iso3166.tab", 0, 1):
        main, _, bracket = name.rstrip(")").partition(" (")  # "Korea (South)", "Myanmar (Burma)"
        codes[_plain(f"{bracket} {main}")] = code
        if codes.setdefault(_plain(main), code) != code:
            shared.add(_plain(main))
    return {name: code for name, code in codes.items() if name not in shared} | _COUNTRY_ALSO


@functools.cache
def _table(name: str, *columns: int) -> list[tuple[str, ...]]:
    """Columns of a table of the database: lines of fields between tabs, "#" before comments."""
    text = importlib.resources.files("tzdata").joinpath("zoneinfo", name).read_text("utf-8")
    rows = [line.split("\t") for line in text.splitlines() if line and not line.startswith("#")]
    return [tuple(row[column] for column in columns) for row in rows]
