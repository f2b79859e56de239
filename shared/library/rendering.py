"""Jinja2 for the strings of the library, where whoever writes a template may be careless or hostile.

Three walls. An allow-list over the syntax tree: no calls, no assignment, no `*`, `**`, `%`, no macros, no imports, and
of filters only those whose result stays in proportion to what they are given. Under it Jinja's immutable sandbox,
narrowed to the items of mappings and lists, so no method of a value is within reach. Around both a cap on output and on
loop steps. Steps are counted, not timed, so a template that goes too far does so on every machine at the same place,
and rendering stays a pure function.

What a requester writes is only ever a value in here, never source.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateError, nodes
from jinja2.meta import find_undeclared_variables
from jinja2.runtime import Context, LoopContext, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import pass_context

MAX_OUTPUT = 16_000  # characters; a prompt of a model is at most a few thousand
MAX_STEPS = 2_000
MAX_DEPTH = 40  # nested syntax: far below where Python's own parser or recursion gives up

_METER = "_meter"
_LOOP_ATTRIBUTES = frozenset(("index", "index0", "first", "last", "length"))
_ALLOWED_NODES: tuple[type[nodes.Node], ...] = (
    nodes.Template,
    nodes.Output,
    nodes.TemplateData,
    nodes.If,
    nodes.For,
    nodes.Name,
    nodes.Const,
    nodes.Tuple,
    nodes.List,
    nodes.Dict,
    nodes.Pair,
    nodes.CondExpr,
    nodes.Filter,
    nodes.Test,
    nodes.Getitem,
    nodes.Getattr,
    nodes.Slice,
    nodes.Concat,
    nodes.Compare,
    nodes.Operand,
    nodes.Add,
    nodes.Sub,
    nodes.And,
    nodes.Or,
    nodes.Not,
    nodes.Neg,
)
_WORDS: dict[type[nodes.Node], str] = {
    nodes.Call: "a call",
    nodes.Mul: "`*`",
    nodes.Pow: "`**`",
    nodes.Mod: "`%`",
    nodes.Assign: "`set`",
    nodes.AssignBlock: "`set`",
    nodes.Macro: "`macro`",
    nodes.Include: "`include`",
    nodes.Import: "`import`",
    nodes.FromImport: "`import`",
    nodes.Extends: "`extends`",
    nodes.FilterBlock: "a `filter` block",
    nodes.With: "`with`",
}


class TemplateFault(Exception):
    """A template that does not compile, goes beyond a cap, or uses what it was not given; `line` counts from 1."""

    def __init__(self, what: str, line: int = 1) -> None:
        super().__init__(what, line)
        self.what = what
        self.line = line

    def __str__(self) -> str:
        return self.what


class _Sandbox(ImmutableSandboxedEnvironment):
    def getattr(self, obj: Any, attribute: str) -> Any:
        if isinstance(obj, LoopContext) and attribute in _LOOP_ATTRIBUTES:
            return getattr(obj, attribute)
        return self.getitem(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        if isinstance(obj, str | list | tuple | Mapping):
            try:
                return obj[argument]
            except (LookupError, TypeError):
                return self.undefined(obj=obj, name=argument)
        return self.undefined(obj=obj, name=argument)


class _Meter:
    """What is left of one rendering's loop steps."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = MAX_STEPS

    def step(self, items: Iterable[Any]) -> Iterator[Any]:
        for item in items:
            self.left -= 1
            if self.left < 0:
                raise TemplateFault(f"loops run for more than {MAX_STEPS} steps")
            yield item


@pass_context
def _metered(context: Context, items: Iterable[Any]) -> list[Any]:
    meter: _Meter = context[_METER]
    return list(meter.step(items))


def _join(items: Iterable[Any], separator: str = "") -> str:
    parts = [str(item) for item in items]
    _check_size(sum(map(len, parts)) + len(separator) * len(parts))
    return separator.join(parts)


def _replace(value: object, old: str, new: str) -> str:
    text = str(value)
    _check_size(len(text) + text.count(old) * len(new))
    return text.replace(old, new)


def _default(value: Any, fallback: Any = "") -> Any:
    """For an empty value too: an optional variable that was not given is empty, not undefined."""
    return fallback if isinstance(value, StrictUndefined) or value in ("", None) else value


def _finalize(value: Any) -> Any:
    """What a template prints is text or a number: a list or a mapping would be printed as Python."""
    if value is None:
        return ""
    if isinstance(value, str | int | float | Undefined):
        return value
    raise TemplateFault(f"prints a whole {type(value).__name__}; print its parts, or use `join`")


def _check_size(size: int) -> None:
    if size > MAX_OUTPUT:
        raise TemplateFault(f"the text grows beyond {MAX_OUTPUT} characters")


# What a template does with values of the wrong type is its own fault, whatever Python calls it.
_WRONG_VALUES = (TemplateError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError)
_OWN_FILTERS: dict[str, Callable[..., Any]] = {"join": _join, "replace": _replace, "default": _default}
_JINJA_FILTERS = frozenset(
    ("capitalize", "first", "float", "int", "last", "length", "lower", "sort", "title", "trim", "unique", "upper")
)
_JINJA_TESTS = frozenset(
    ("defined", "undefined", "none", "string", "number", "in", "eq", "ne", "lt", "le", "gt", "ge", "odd", "even")
)
FILTERS = _JINJA_FILTERS | set(_OWN_FILTERS)


@lru_cache(maxsize=1)
def _environment() -> _Sandbox:
    environment = _Sandbox(undefined=StrictUndefined, autoescape=False, finalize=_finalize)
    environment.globals.clear()  # no range, dict, namespace, cycler, joiner, lipsum
    kept = {name: environment.filters[name] for name in _JINJA_FILTERS}
    environment.filters = {**kept, **_OWN_FILTERS, _METER: _metered}
    environment.tests = {name: environment.tests[name] for name in _JINJA_TESTS}
    return environment


def names_in(source: str) -> frozenset[str]:
    """The names a template asks for. Raises TemplateFault."""
    return _compiled(source)[1]


def render(source: str, values: Mapping[str, Any]) -> str:
    """The text of a template with these values, without blank edges. Raises TemplateFault."""
    if "{" not in source:
        return source.strip()
    template, _ = _compiled(source)
    pieces: list[str] = []
    size = 0
    try:
        context = template.new_context({**values, _METER: _Meter()}, shared=True)
        for piece in template.root_render_func(context):
            size += len(piece)
            _check_size(size)
            pieces.append(piece)
    except (
        TemplateError,
        TypeError,
        ValueError,
        LookupError,
        AttributeError,
        ArithmeticError,
        RecursionError,
    ) as error:
        # What a template does with values of the wrong type is its own fault, whatever Python calls it.
        raise TemplateFault(str(error) or type(error).__name__) from error
    return "".join(pieces).strip()


@lru_cache(maxsize=4096)
def _compiled(source: str) -> tuple[Template, frozenset[str]]:
    environment = _environment()
    try:
        tree = environment.parse(source)
        _check(tree)
        names = frozenset(find_undeclared_variables(tree))
        for loop in tree.find_all(nodes.For):
            loop.iter = nodes.Filter(loop.iter, _METER, [], [], None, None, lineno=loop.lineno)
        code = environment.compile(tree)
    except TemplateError as error:
        line = getattr(error, "lineno", None) or 1
        raise TemplateFault(error.message or "the template does not compile", line) from error
    except RecursionError as error:
        raise TemplateFault("the template is nested too deeply") from error
    except ValueError as error:  # a number of more digits than Python reads
        raise TemplateFault(str(error)) from error
    return Template.from_code(environment, code, {}), names


def _check(node: nodes.Node, depth: int = 0) -> None:
    if depth > MAX_DEPTH:
        raise TemplateFault("the template is nested too deeply", node.lineno)
    if not isinstance(node, _ALLOWED_NODES):
        word = _WORDS.get(type(node), f"`{type(node).__name__.lower()}`")
        raise TemplateFault(f"{word} is not available in templates", node.lineno or 1)
    if isinstance(node, nodes.Name) and node.name.startswith("_"):
        raise TemplateFault(f"names do not begin with `_`: {node.name!r}", node.lineno)
    if isinstance(node, nodes.Filter) and node.name not in FILTERS:
        raise TemplateFault(f"no filter `{node.name}`; there are {', '.join(sorted(FILTERS))}", node.lineno)
    if isinstance(node, nodes.For) and node.recursive:
        raise TemplateFault("`recursive` is not available in templates", node.lineno)
    for child in node.iter_child_nodes():
        _check(child, depth + 1)
