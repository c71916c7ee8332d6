"""Dates and times in text: one grammar, for a column and for one value.

Read are, alone or followed by a time of day (12:30, 12:30:05.25, 1:05 PM) and perhaps a zone (Z, UTC, GMT, +01, +0100,
+01:00): 2024-01-31, 2024/1/31, 2024.01.31; 2024-01; 31 Jan 2024, 31-Jan-24, Jan 31, 2024; Wed, 31 Jan 2024; and, by the
order that is asked for, 31/12/2024 or 12/31/2024 with any of "/", "-" and ".". Two-digit years are those of 1969 to
2068.
"""

from __future__ import annotations

import datetime
import re
from functools import lru_cache
from zoneinfo import ZoneInfo

UTC = datetime.timezone.utc
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_NAMES = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december",
)  # fmt: skip
_MONTH_OF = {
    **{name: i for i, name in enumerate(_MONTHS, 1)},
    **{name: i for i, name in enumerate(_NAMES, 1)},
    "sept": 9,
}
_MOMENT = re.compile(
    r"""\s*(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*\.?,?\s+)?
    (?:(?P<y1>\d{4})(?P<s1>[-/.])(?P<m1>\d{1,2})(?:(?P=s1)(?P<d1>\d{1,2}))?
    |(?P<a>\d{1,2})(?P<s2>[-/.])(?P<b>\d{1,2})(?P=s2)(?P<y2>\d{4}|\d{2})
    |(?P<d3>\d{1,2})(?:st|nd|rd|th)?[-/.\s]*(?P<n3>[a-z]{3,9})\.?[-/.,\s]+(?P<y3>\d{4}|\d{2})
    |(?P<n4>[a-z]{3,9})\.?[-\s]+(?P<d4>\d{1,2})(?:st|nd|rd|th)?,?[-\s]+(?P<y4>\d{4}))
    (?:(?:t|[\s,]+)(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,](?P<fraction>\d{1,9}))?)?
    (?:\s*(?P<half>[ap])\.?m\.?)?
    \s*(?P<zone>z|utc|gmt|(?:utc|gmt)?[+-]\d{2}(?::?\d{2})?)?)?\s*""",
    re.VERBOSE | re.IGNORECASE | re.ASCII,
)
_COMPACT = {
    "yyyymmdd": re.compile(r"(\d{4})(\d{2})(\d{2})(\d{2})?(\d{2})?(\d{2})?", re.ASCII),
    "yymmddhh": re.compile(r"(\d{2})(\d{2})(\d{2})(\d{2})", re.ASCII),
    "yyyymm": re.compile(r"(\d{4})(\d{2})", re.ASCII),
}


@lru_cache(4096)
def parse_moment(text: str, *, order: str = "ymd", zone: ZoneInfo | None = None) -> datetime.datetime | None:
    """A date or time in text, without zone; None for other text.

    Parameters
    ----------
    text : str
    order : {"ymd", "dmy", "mdy"}
        "dmy" and "mdy" say how 1/2/2024 is read, which is no date in "ymd".
    zone : ZoneInfo, optional
        Where a time with a zone is taken; by default in UTC. A time without zone stays as it is.
    """
    if text[4:5] == "-" and text[7:8] == "-" and text[10:11] in ("", "T", " "):
        try:
            return local_time(datetime.datetime.fromisoformat(text), zone)
        except (ValueError, OverflowError):
            pass
    found = _MOMENT.fullmatch(text)
    if found is None:
        return None
    part = found.groupdict()
    if part["y1"]:
        year, month, day = part["y1"], int(part["m1"]), int(part["d1"] or 1)
    elif part["y2"]:
        if order not in ("dmy", "mdy"):
            return None
        first, second = int(part["a"]), int(part["b"])
        year, month, day = part["y2"], *((second, first) if order == "dmy" else (first, second))
    else:
        name = (part["n3"] or part["n4"]).lower()
        year, month, day = part["y3"] or part["y4"], _MONTH_OF.get(name, 0), int(part["d3"] or part["d4"])
    try:
        moment = datetime.datetime(_year(year), month, day)
        if part["hour"] is None:
            return moment
        hour = int(part["hour"])
        if part["half"]:
            if not 1 <= hour <= 12:
                return None
            hour = hour % 12 + 12 * (part["half"] in "pP")
        microsecond = int((part["fraction"] or "0")[:6].ljust(6, "0"))
        moment = moment.replace(
            hour=hour, minute=int(part["minute"]), second=int(part["second"] or 0), microsecond=microsecond
        )
        if part["zone"] is None:
            return moment
        return local_time(moment.replace(tzinfo=UTC) - _offset(part["zone"]), zone)
    except (ValueError, OverflowError):
        return None


def _year(text: str) -> int:
    year = int(text)
    return year if len(text) == 4 else year + (2000 if year <= 68 else 1900)


def _offset(zone: str) -> datetime.timedelta:
    digits = re.sub(r"[^\d]", "", zone)
    size = datetime.timedelta(hours=int(digits[:2] or 0), minutes=int(digits[2:] or 0))
    return -size if "-" in zone else size


def local_time(moment: datetime.datetime, zone: datetime.tzinfo | None) -> datetime.datetime:
    """A time with a zone as the time of day in `zone` (None: UTC), without zone; one without zone as it is."""
    return moment if moment.tzinfo is None else moment.astimezone(zone or UTC).replace(tzinfo=None)


def date_of_digits(text: str, format: str) -> datetime.datetime | None:
    """A date of digits alone, 20241231 or 2024123117 (yyyymmdd), 24123117 (yymmddhh) or 202412 (yyyymm)."""
    text = text.strip()
    found = _COMPACT[format].fullmatch(text.zfill(8) if format == "yymmddhh" else text) if format in _COMPACT else None
    if found is None:
        return None
    parts = [int(part) for part in found.groups() if part is not None]
    if format == "yymmddhh":
        parts[0] = _year(f"{parts[0]:02d}")
    if format == "yyyymm":
        parts.append(1)
    try:
        return datetime.datetime(*parts) if 1900 <= parts[0] < 2100 else None  # type: ignore[arg-type]
    except ValueError:
        return None


def iso_text(moment: datetime.datetime | None) -> str | None:
    """A time without zone as text in ISO 8601."""
    return None if moment is None else moment.isoformat(sep="T", timespec="microseconds")


def date_order(texts: list[str]) -> tuple[str, str] | None:
    """The order in which all these texts are dates, and a doubt about it in words; None if there is none.

    Parameters
    ----------
    texts : list of str
        Distinct values.
    """
    for order in ("ymd", "dmy", "mdy"):
        if all(parse_moment(text, order=order) is not None for text in texts):
            break
    else:
        return None
    if order != "dmy" or not all(parse_moment(text, order="mdy") is not None for text in texts):
        return order, ""
    # Every day is at most 12. Days take more values than months.
    found = [m for m in map(_MOMENT.fullmatch, texts) if m and m["a"]]
    n_first, n_second = (len({int(m[name]) for m in found}) for name in ("a", "b"))
    order = "mdy" if n_second > n_first and not any(m["s2"] == "." for m in found) else "dmy"
    return order, f"no day is above 12: {'day' if order == 'dmy' else 'month'} first is a guess"
