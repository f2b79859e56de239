"""Changing the product while it runs: a function's or a query's text, and only where it still says what it said.

A function keeps its identity and gets other code, so whoever has imported it by name has the mutant too.
"""

import importlib
import inspect
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FunctionType
from typing import Any

import aiosql

ROOT = Path(__file__).resolve().parents[3]

_undo: list[Callable[[], object]] = []
_sources: dict[int, str] = {}  # by the identity of what was changed, so that it can be changed further


class NoLongerThere(RuntimeError):
    """What a mutant changes is not there any more, or not as it was: a mutant that changes nothing proves nothing."""


def function(where: str, before: str, after: str) -> None:
    """In the function that `where` names (`module:Class.method`), says `after` where it said `before`, once."""
    found = _function(where)
    source = _sources.get(id(found)) or textwrap.dedent(inspect.getsource(found))
    changed = _changed(source, before, after, where=where)
    namespace = dict(found.__globals__)
    exec(compile(changed, f"<mutant of {where}>", "exec"), namespace)  # our own text
    mutant = _plain(namespace[found.__name__], where)
    code, old = mutant.__code__, found.__code__
    if code.co_freevars != old.co_freevars:
        raise NoLongerThere(f"{where} closes over {old.co_freevars}: name what is around it")
    found.__code__ = code
    _sources[id(found)] = changed
    _undo.append(lambda: setattr(found, "__code__", old))
    _undo.append(lambda: _sources.pop(id(found), None))


def query(where: str, file: str, name: str, before: str, after: str, *, times: int = 1) -> None:
    """The same for one query of the aiosql object that `where` names (`module:queries`), read from `file`."""
    module, _, attribute = where.partition(":")
    queries = _attribute(importlib.import_module(module), attribute, where)
    old = getattr(queries, name, None)
    parts = [part for part in (ROOT / file).read_text().split("-- name: ")[1:] if part.startswith(f"{name}(")]
    if old is None or len(parts) != 1:
        raise NoLongerThere(f"{file} has no query {name}, or {where} does not use it")
    source = _sources.get(id(old)) or "-- name: " + parts[0]
    changed = _changed(source, before, after, where=f"{file} {name}", times=times)
    mutant = getattr(aiosql.from_str(changed, "asyncpg"), name)
    setattr(queries, name, mutant)
    _sources[id(mutant)] = changed
    _undo.append(lambda: setattr(queries, name, old))
    _undo.append(lambda: _sources.pop(id(mutant), None))


def constant(where: str, before: Any, after: Any) -> None:
    """Another value for a name of a module (`module:NAME`)."""
    module, _, name = where.partition(":")
    owner = importlib.import_module(module)
    if getattr(owner, name, None) != before:
        raise NoLongerThere(f"{where} is not {before!r}")
    setattr(owner, name, after)
    _undo.append(lambda: setattr(owner, name, before))


@contextmanager
def undone() -> Iterator[None]:
    """What is changed inside is as before afterwards, the last change first."""
    before = len(_undo)
    try:
        yield
    finally:
        while len(_undo) > before:
            _undo.pop()()


def changes() -> int:
    """How much of the product is other than it was."""
    return len(_undo)


def _changed(text: str, before: str, after: str, *, where: str, times: int = 1) -> str:
    if text.count(before) != times:
        raise NoLongerThere(f"{where} says {before!r} {text.count(before)} times and not {times}")
    return text.replace(before, after)


def _function(where: str) -> FunctionType:
    module, _, path = where.partition(":")
    owner: Any = importlib.import_module(module)
    for name in path.split("."):
        owner = _attribute(owner, name, where)
    return _plain(owner, where)


def _plain(found: Any, where: str) -> FunctionType:
    plain: Any = found.fget if isinstance(found, property) else found
    plain = inspect.unwrap(getattr(plain, "__func__", plain))
    if not isinstance(plain, FunctionType):
        raise NoLongerThere(f"{where} is no function")
    return plain


def _attribute(owner: Any, name: str, where: str) -> Any:
    if not hasattr(owner, name):
        raise NoLongerThere(f"{where}: there is no {name}")
    return inspect.getattr_static(owner, name) if inspect.isclass(owner) else getattr(owner, name)
