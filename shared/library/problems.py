"""What pydantic found, in the product's own words: code, what, where, remedy. For documents and for requests alike."""

from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from shared.events import Problem

Loc = tuple[int | str, ...]


def place(loc: Loc) -> str:
    """`("variables", "tags", 0)` as `variables.tags[0]`."""
    text = ""
    for step in loc:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text


def suggest(wrong: str, known: Iterable[str]) -> str:
    """A remedy that names the nearest known word first, then the rest of them (at most twelve)."""
    names = sorted(known)
    near = get_close_matches(wrong, names, n=1, cutoff=0.6)
    shown = ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
    if near:
        return f"did you mean {near[0]}? There are: {shown}"
    return f"use one of: {shown}" if names else "there are none yet; publish one first"


def problems_of(error: ValidationError, model: type[BaseModel]) -> list[tuple[Loc, Problem]]:
    """One problem per place, with the path to it (for a line number)."""
    found: dict[Loc, Problem] = {}
    for details in error.errors(include_url=False):
        loc, in_union = _written(details)
        if in_union and loc in found:  # each branch of a union has its own complaint; together they say one thing
            what = "is neither text, a number, nor true or false"
            found[loc] = Problem(code="wrong_type", what=what, where=place(loc), remedy="write a single value")
        else:
            found.setdefault(loc, _problem(details, loc, model))
    return list(found.items())


def _written(details: ErrorDetails) -> tuple[Loc, bool]:
    """The path as the writer wrote it, without the union branch or the `[key]` that pydantic adds at its end."""
    loc = tuple(details["loc"])
    if details["type"] in {"extra_forbidden", "missing"} or len(loc) < 2:
        return loc, False
    if loc[-1] == "[key]":
        return loc[:-1], False
    return (loc[:-1], True) if loc[-1] in _BRANCHES else (loc, False)


_BRANCHES = frozenset(("str", "constrained-str", "int", "float", "bool"))


def _problem(details: ErrorDetails, loc: Loc, model: type[BaseModel]) -> Problem:
    kind, context = details["type"], details.get("ctx", {})
    where = place(loc)
    if kind == "extra_forbidden":
        name = str(loc[-1])
        remedy = suggest(name, fields_at(model, loc[:-1]))
        return Problem(code="unknown_field", what=f"unknown field {name!r}", where=where, remedy=remedy)
    if kind == "missing":
        return Problem(code="missing_field", what=f"{loc[-1]!r} is missing", where=where, remedy="give it a value")
    if kind in _SENTENCES:
        code, say = _SENTENCES[kind]
        what, remedy = say(context)
        return Problem(code=code, what=what, where=where, remedy=remedy)
    what = details["msg"].removeprefix("Value error, ")
    return Problem(code="malformed", what=what, where=where, remedy="correct the value")


_WHEN = ("is not a point in time", "write it like 2030-12-31T18:00:00Z")
_Say = Callable[[dict[str, Any]], tuple[str, str]]
_SENTENCES: dict[str, tuple[str, _Say]] = {
    "enum": ("unknown_value", lambda c: ("is not one of the known values", f"use {c['expected']}")),
    "literal_error": ("unknown_value", lambda c: ("is not one of the known values", f"use {c['expected']}")),
    "string_type": ("wrong_type", lambda _: ("is not text", "write it in quotes")),
    "int_type": ("wrong_type", lambda _: ("is not a whole number", "write digits only")),
    "int_parsing": ("wrong_type", lambda _: ("is not a whole number", "write digits only")),
    "int_from_float": ("wrong_type", lambda _: ("is not a whole number", "write digits only")),
    "float_parsing": ("wrong_type", lambda _: ("is not a number", "write digits, with a point before decimals")),
    "list_type": ("wrong_type", lambda _: ("is not a list", "write [ … ], also for a single item")),
    "dict_type": ("wrong_type", lambda _: ("is not an object", "write { name: value }")),
    "model_type": ("wrong_type", lambda _: ("is not an object", "write { field: value }")),
    "string_too_long": ("too_long", lambda c: (f"is longer than {c['max_length']} characters", "shorten it")),
    "string_too_short": ("empty", lambda _: ("is empty", "give it a value")),
    "too_long": ("too_many", lambda c: (f"has more than {c['max_length']} items", "send fewer")),
    "too_short": ("empty", lambda c: (f"has fewer than {c['min_length']} items", "add some")),
    "greater_than_equal": ("out_of_range", lambda c: (f"is less than {c['ge']}", f"use {c['ge']} or more")),
    "less_than_equal": ("out_of_range", lambda c: (f"is more than {c['le']}", f"use {c['le']} or less")),
    "greater_than": ("out_of_range", lambda c: (f"is not more than {c['gt']}", f"use more than {c['gt']}")),
    "less_than": ("out_of_range", lambda c: (f"is not less than {c['lt']}", f"use less than {c['lt']}")),
    "string_pattern_mismatch": ("malformed", lambda c: ("is not written as expected", f"it must match {c['pattern']}")),
    "datetime_from_date_parsing": ("malformed", lambda _: _WHEN),
    "datetime_parsing": ("malformed", lambda _: _WHEN),
    "timezone_aware": ("malformed", lambda _: ("has no time zone", "end it with Z or an offset such as +01:00")),
    "uuid_parsing": ("malformed", lambda _: ("is not an id", "write it like 0f8fad5b-d9cb-469f-a165-70867728950e")),
    "json_invalid": ("not_json", lambda c: (f"is not JSON: {c['error']}", "send one JSON object, in UTF-8")),
}


def fields_at(model: type[BaseModel], loc: Loc) -> list[str]:
    """The fields of the model at this path, as far as its annotations say."""
    for step in loc:
        inner = _model_in(model.model_fields[step].annotation) if step in model.model_fields else model
        model = inner or model
    return list(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for part in getattr(annotation, "__args__", ()):
        if found := _model_in(part):
            return found
    return None
