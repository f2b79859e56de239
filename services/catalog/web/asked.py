"""What an address or a form asks for: read strictly, so that a mangled one gets an answer and not a stack trace."""

from collections.abc import Callable, Mapping, Sequence
from urllib.parse import urlencode
from uuid import UUID

from starlette.datastructures import FormData, QueryParams

from shared.errors import Rejected

Link = Callable[..., str]
Values = QueryParams | FormData | Mapping[str, str]

DEFAULTS = {"queue": "to_review", "order": "arrival", "show": "needs", "surround": "grey", "first": "0"}


def linker(path: str, names: Sequence[str], asked: Mapping[str, str]) -> Link:
    """A function that gives the page's own address with some of its state changed; None takes a part away."""
    state = {name: asked[name] for name in names if asked.get(name)}

    def link(**changes: object) -> str:
        merged = {name: changes.get(name, state.get(name)) for name in names}
        kept = {n: str(v) for n, v in merged.items() if v is not None and str(v) not in {"", DEFAULTS.get(n)}}
        return f"{path}?{urlencode(kept)}" if kept else path

    return link


def one_of(asked: Values, name: str, allowed: Sequence[str]) -> str:
    """The value, or the first allowed one where none was given."""
    value = str(asked.get(name) or allowed[0])
    if value not in allowed:
        raise Rejected(
            "bad_filter", f"{value[:80]!r} is not known", name, f"Use one of {', '.join(filter(None, allowed))}."
        )
    return value


def as_id(asked: Values, name: str) -> UUID | None:
    value = str(asked.get(name) or "")
    try:
        return UUID(value) if value else None
    except ValueError:
        raise Rejected("bad_id", f"{value[:80]!r} is no id", name, "Copy the whole id, all 36 characters.") from None


def required_id(asked: Values, name: str) -> UUID:
    found = as_id(asked, name)
    if found is None:
        raise Rejected("bad_form", "it is missing", name, "Reload the page and try again.")
    return found


def as_count(asked: Values, name: str) -> int:
    value = str(asked.get(name) or "0")
    if not (value.isascii() and value.isdigit() and len(value) <= 9):
        raise Rejected("bad_number", f"{value[:80]!r} is no count", name, "Use a whole number, 0 or more.")
    return int(value)


def as_text(asked: Values, name: str, limit: int) -> str | None:
    """The text without surrounding space, None where nothing is left. Postgres cannot store U+0000."""
    value = str(asked.get(name) or "").strip()
    if len(value) > limit or "\0" in value:
        raise Rejected("bad_text", f"at most {limit} characters, none of them U+0000", name, "Say it shorter.")
    return value or None


def own_address(asked: Values, name: str) -> str:
    """Where a form wants to go afterwards: within Review, never to another house."""
    address = str(asked.get(name) or "")
    return address if address == "/review" or address.startswith("/review?") else "/review"


def with_query(address: str, **more: object) -> str:
    return f"{address}{'&' if '?' in address else '?'}{urlencode(more)}"
