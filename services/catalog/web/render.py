"""Values to HTML: the Jinja environment, the filters that put numbers into words, and the files under /static/.

Every static address carries one digest over all of them, so it may be cached for a year; a stylesheet's relative
addresses (its fonts) fall under the same digest.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from uuid import UUID

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

import shared
from services.catalog.web.ribbon import ribbon
from services.catalog.web.view import SQUARES, Mark, Money

HERE = Path(__file__).parent
FONTS = Path(shared.__file__).parent / "fonts"
MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".woff2": "font/woff2",
}


@dataclass(frozen=True, slots=True)
class StaticFile:
    body: bytes
    media_type: str


@cache
def static_files() -> tuple[str, Mapping[str, StaticFile]]:
    """The digest of all files, and each by name: `calotype.css`, `fonts/instrument-sans.woff2`."""
    found = {path.name: path for path in (HERE / "static").iterdir()}
    found |= {f"fonts/{path.name}": path for path in FONTS.iterdir()}
    files = {
        name: StaticFile(path.read_bytes(), MEDIA_TYPES[path.suffix])
        for name, path in sorted(found.items())
        if path.suffix in MEDIA_TYPES
    }
    digest = hashlib.sha256()
    for name, file in files.items():
        digest.update(name.encode() + b"\0" + hashlib.sha256(file.body).digest())
    return digest.hexdigest()[:12], files


def static(name: str) -> str:
    digest, files = static_files()
    if name not in files:
        raise LookupError(f"no static file {name}")
    return f"/static/{digest}/{name}"


def clock(at: datetime) -> Markup:
    """The time of day; a script rewrites it to the reader's own zone."""
    return Markup('<time datetime="{}" data-as="clock">{:%H:%M} UTC</time>').format(
        at.isoformat(timespec="seconds"), at
    )


def moment(at: datetime) -> Markup:
    stamp = at.isoformat(timespec="milliseconds")
    return Markup('<time datetime="{}" data-as="moment">{} {:%b %H:%M:%S} UTC</time>').format(stamp, at.day, at)


def count(number: int) -> str:
    return f"{number:,}"


def lasting(seconds: float) -> str:
    """A duration as a person says it: `0.4 s`, `41 s`, `9 min`, `3 h 12 min`, `2 d 4 h`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s" if seconds >= 0.095 else f"{seconds * 1000:.0f} ms"
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{hours // 24} d {hours % 24} h" if hours % 24 else f"{hours // 24} d"


def size(count_of_bytes: int) -> str:
    if count_of_bytes < 1000:
        return f"{count_of_bytes} B"
    if count_of_bytes < 999_500:
        return f"{count_of_bytes / 1000:.0f} kB"
    return f"{count_of_bytes / 1_000_000:.1f} MB"


def money(sum_: Money) -> str:
    """Two digits, more where they would hide a cost; never 0 for a cost nobody knows."""
    if sum_.amount is None:
        return "cost not known"
    digits = 4 if 0 < sum_.amount < Decimal("0.01") else 2
    figure = f"{sum_.amount:,.{digits}f}"
    return f"${figure}" if sum_.currency == "USD" else f"{figure} {sum_.currency}"


def short(identifier: UUID) -> str:
    text = identifier.hex
    return f"{text[:4]}…{text[-4:]}"


def spoken(code: str) -> str:
    return code.replace("_", " ")


# Characters that none of the vendored fonts has, drawn by templates/glyphs.svg instead.
DRAWN = {"≤": "le", "≥": "ge", "Δ": "delta", "→": "right", "←": "left", "↑": "up", "↓": "down", "↵": "return"}


def glyph(name: str, label: str = "") -> Markup:
    if label:
        return Markup('<svg class="g" role="img" aria-label="{}"><use href="#g-{}"/></svg>').format(label, name)
    return Markup('<svg class="g" aria-hidden="true"><use href="#g-{}"/></svg>').format(name)


def drawn(text: str) -> Markup:
    """The text with every character of DRAWN as a picture of it."""
    return Markup("").join(glyph(DRAWN[c], c) if c in DRAWN else escape(c) for c in text)


def mark(state: Mark | str, word: str | None = None) -> Markup:
    """A state: always glyph, word and colour."""
    return Markup('<span class="mark {}">{}{}</span>').format(state, glyph(state), word or str(state))


def sparkline(values: tuple[int, ...], width: int = 150, height: int = 24) -> str:
    """Points of a polyline: the highest value touches the top, none lies on the baseline."""
    top = max(values, default=0) or 1
    step = width / max(len(values) - 1, 1)
    return " ".join(f"{i * step:.1f},{height - 1 - value / top * (height - 2):.1f}" for i, value in enumerate(values))


@cache
def environment() -> Environment:
    env = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters = (clock, count, drawn, lasting, mark, moment, money, short, size, sparkline, spoken)
    env.filters |= {function.__name__: function for function in filters}
    env.globals |= {"static": static, "glyph": glyph, "ribbon": ribbon, "Mark": Mark, "SQUARES": SQUARES}
    return env


def page(template: str, **values: object) -> str:
    return environment().get_template(template).render(values)
