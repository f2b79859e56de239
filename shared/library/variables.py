"""Variables as a template declares them: present, allowed, and in their type, wherever they were written."""

import re
from dataclasses import dataclass, field

from shared.events import ImageRequested, Problem
from shared.library.documents import Policy, Scalar, Template, Variable
from shared.library.problems import suggest
from shared.library.terms import find


@dataclass(slots=True)
class Findings:
    """Every reason why an ask cannot be taken."""

    problems: list[Problem] = field(default_factory=list)

    def add(self, code: str, what: str, where: str, remedy: str) -> None:
        self.problems.append(Problem(code=code, what=what, where=where, remedy=remedy))


def typed_variables(asked: ImageRequested, template: Template, policy: Policy, found: Findings) -> dict[str, Scalar]:
    values: dict[str, Scalar] = {}
    for name, value in asked.variables.items():
        variable = template.variables.get(name)
        if variable is None:
            what = f"{template.label} has no variable {name!r}"
            found.add("unknown_variable", what, f"variables.{name}", suggest(name, template.variables))
        elif (typed := _typed(name, value, variable, found)) is not None:
            values[name] = typed
            if isinstance(typed, str) and variable.type == "text" and (hit := find(policy, typed)):
                what = f"says {hit.term!r}, which rule {hit.rule.id!r} of {policy.label} forbids: {hit.rule.why}"
                found.add("policy_refused", what, f"variables.{name}", hit.rule.remedy)
    for name, variable in template.variables.items():
        if name in asked.variables:
            continue
        if variable.default is not None:
            values[name] = variable.default
        elif variable.required:
            remedy = f"use one of: {', '.join(variable.values)}" if variable.values else "give it a value"
            found.add("missing_variable", f"{template.label} needs {name!r}", f"variables.{name}", remedy)
    return values


def _typed(name: str, value: Scalar, variable: Variable, found: Findings) -> Scalar | None:
    """The value in the variable's type: text from a file's cell is read as what the template declares."""
    where = f"variables.{name}"
    match variable.type:
        case "choice":
            if str(value) in variable.values:
                return str(value)
            found.add("value_not_allowed", f"{value!r} is not allowed", where, suggest(str(value), variable.values))
        case "text":
            if len(str(value)) <= variable.max_length:
                return str(value)
            what = f"is longer than {variable.max_length} characters"
            found.add("too_long", what, where, f"shorten it by {len(str(value)) - variable.max_length}")
        case "boolean":
            if (truth := _TRUTHS.get(str(value).lower())) is not None:
                return truth
            found.add("wrong_type", f"{value!r} is neither true nor false", where, "use true or false")
        case "integer" | "number":
            return _number(where, value, variable, found)
    return None


_TRUTHS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_NUMBER = re.compile(r"-?\d{1,15}(\.\d{1,15})?")


def _number(where: str, value: Scalar, variable: Variable, found: Findings) -> Scalar | None:
    text = str(value)
    whole = variable.type == "integer"
    if isinstance(value, bool) or not _NUMBER.fullmatch(text) or (whole and not float(text).is_integer()):
        found.add("wrong_type", f"{value!r} is not a {'whole ' if whole else ''}number", where, "write digits")
        return None
    number = int(float(text)) if whole else float(text)
    if variable.minimum is not None and number < variable.minimum:
        found.add("out_of_range", f"{number} is too small", where, f"use {variable.minimum:g} or more")
    elif variable.maximum is not None and number > variable.maximum:
        found.add("out_of_range", f"{number} is too large", where, f"use {variable.maximum:g} or less")
    else:
        return number
    return None
