"""Whether a newer schema still keeps what a release promised: compatible both ways, or the difference is listed."""

from collections.abc import Callable
from typing import Any

Schema = dict[str, Any]
LIMITS: dict[str, Callable[[float, float], bool]] = {
    "maxLength": lambda old, new: new < old,
    "maximum": lambda old, new: new < old,
    "maxItems": lambda old, new: new < old,
    "minimum": lambda old, new: new > old,
    "minLength": lambda old, new: new > old,
}


def breaks(old: Schema, new: Schema) -> list[str]:
    """What of `old` a reader or writer could no longer rely on, one sentence each with its place.

    Nothing may be removed, renamed or narrowed, and what is new has a default, so that old events still decode and
    old readers still find what they read.
    """
    return _Comparison(old.get("$defs", {}), new.get("$defs", {})).compare(old, new, "", frozenset())


class _Comparison:
    def __init__(self, old_definitions: Schema, new_definitions: Schema) -> None:
        self._old = old_definitions
        self._new = new_definitions

    def compare(self, old: Schema, new: Schema, at: str, seen: frozenset[str]) -> list[str]:
        reference = old.get("$ref")
        if reference in seen:
            return []
        seen |= {reference} if reference else set()
        old, new = _resolve(old, self._old), _resolve(new, self._new)
        return [
            *_narrowed(old, new, at),
            *_required(old, new, at),
            *self._properties(old, new, at, seen),
            *self._parts(old, new, at, seen),
            *self._choices(old, new, at, seen),
        ]

    def _properties(self, old: Schema, new: Schema, at: str, seen: frozenset[str]) -> list[str]:
        found = []
        for name, before in old.get("properties", {}).items():
            after = new.get("properties", {}).get(name)
            found += (
                [f"{at}.{name}: was removed"] if after is None else self.compare(before, after, f"{at}.{name}", seen)
            )
        return found

    def _parts(self, old: Schema, new: Schema, at: str, seen: frozenset[str]) -> list[str]:
        both = [part for part in ("items", "additionalProperties") if _is_schema(old, part) and _is_schema(new, part)]
        return [found for part in both for found in self.compare(old[part], new[part], f"{at}[]", seen)]

    def _choices(self, old: Schema, new: Schema, at: str, seen: frozenset[str]) -> list[str]:
        """Each alternative of the old schema needs one in the new that keeps it."""
        found = []
        candidates = new.get("anyOf", [new])
        for before in old.get("anyOf", ()):
            attempts: list[list[str]] = [self.compare(before, after, at, seen) for after in candidates]
            if all(len(attempt) > 0 for attempt in attempts):
                shortest: list[str] = min(attempts, key=len)
                found += shortest
        return found


def _narrowed(old: Schema, new: Schema, at: str) -> list[str]:
    found = []
    if "anyOf" not in old and "type" in old and old["type"] not in _types(new):
        found.append(f"{at or 'body'}: no longer allows {old['type']}")
    known: list[Any] = old.get("enum", [])
    if lost := set(known) - set(new.get("enum", known)):
        found.append(f"{at}: no longer knows {', '.join(sorted(map(str, lost)))}")
    for limit, tighter in LIMITS.items():
        if limit in new and (limit not in old or tighter(old[limit], new[limit])):
            found.append(f"{at}: {limit} is narrower")
    return found


def _required(old: Schema, new: Schema, at: str) -> list[str]:
    before, after = set(old.get("required", ())), set(new.get("required", ()))
    return [
        *(f"{at}.{name}: has become required, so older events no longer decode" for name in sorted(after - before)),
        *(f"{at}.{name}: is no longer always there, so older readers may miss it" for name in sorted(before - after)),
    ]


def _resolve(schema: Schema, definitions: Schema) -> Schema:
    reference = schema.get("$ref")
    return definitions[reference.rsplit("/", 1)[1]] if reference else schema


def _types(schema: Schema) -> set[str]:
    if "anyOf" in schema:
        return {kind for part in schema["anyOf"] for kind in _types(part)}
    return {schema["type"]} if "type" in schema else set()


def _is_schema(schema: Schema, part: str) -> bool:
    return isinstance(schema.get(part), dict)
