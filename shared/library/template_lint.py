"""What is wrong with a template: names it does not know, and how it really renders with each product and choice."""

from collections.abc import Iterator, Mapping
from typing import Any

from shared.library.documents import Brand, Policy, Template
from shared.library.faults import Fault, fault, twice, unknown
from shared.library.problems import Loc, suggest
from shared.library.rendering import TemplateFault, names_in, render
from shared.library.shelf import Shelf
from shared.library.terms import find
from shared.library.values import WORDS, product_of, sources_of, values_of

MAX_TRIALS = 200  # renderings of one template; enough for every value of every choice with every product, one by one
PLACES: dict[str, tuple[str, ...]] = {
    "light_side": ("left", "right"),
    "headline_space": ("none", "left", "right", "top"),
}


def check_template(template: Template, shelf: Shelf) -> Iterator[Fault]:
    yield from unknown(template, ("brand",), Brand, template.brand, shelf)
    yield from unknown(template, ("policy",), Policy, template.policy, shelf)
    yield from twice(template, ("parameters", "loras"), [lora.name for lora in template.parameters.loras])
    for name in WORDS & template.variables.keys():
        what = f"{name!r} already means something in every template"
        yield fault(template, ("variables", name), "reserved", what, "give the variable another name")
    known = WORDS | template.variables.keys()
    compiles = True
    for loc, source in sources_of(template):
        try:
            for name in sorted(names_in(source) - known):
                compiles = False
                what = f"{name!r} is no variable of this template"
                yield fault(template, loc, "unknown_variable", what, suggest(name, known))
        except TemplateFault as wrong:
            compiles = False
            yield fault(template, loc, "template_fault", said(wrong), "correct the template")
    brand, policy = shelf.find(Brand, template.brand), shelf.find(Policy, template.policy)
    if compiles and brand and policy:
        yield from _try(template, brand, policy)
    across, _, down = template.aspect.partition(":")
    size = template.parameters
    if not (across.isdigit() and down.isdigit() and int(across) and int(down)):
        yield fault(template, ("aspect",), "malformed", f"{template.aspect!r} is no aspect", "write it like 4:5")
    elif abs(size.width / size.height - int(across) / int(down)) > 0.02:  # models take steps of 8 px
        what = f"{size.width} × {size.height} is not {template.aspect}"
        yield fault(template, ("parameters",), "aspect", what, "change the size or the aspect")


def said(wrong: TemplateFault) -> str:
    return f"{wrong} (line {wrong.line} of the text)" if wrong.line > 1 else str(wrong)


def _try(template: Template, brand: Brand, policy: Policy) -> Iterator[Fault]:
    """Renders every string with every product and every value of every choice, so that no request is the first to."""
    told: set[Loc] = set()
    for values in _trials(template, brand):
        components: dict[str, str] = {}
        caption = [] if template.caption or not brand.caption else [(("caption",), brand.caption)]
        for loc, source in [*sources_of(template), *caption]:
            if loc in told:
                continue
            try:
                text = render(source, {**values, "components": components})
            except TemplateFault as wrong:
                told.add(loc)
                example = ", ".join(f"{name}={values[name]!r}" for name in template.variables)
                what = f"{said(wrong)} (with {values['product'].get('sku', 'no product')}; {example})"
                yield fault(template, loc, "template_fault", what, "correct it, or give it a `default`")
                continue
            if loc[0] == "components":
                components[str(loc[1])] = text
            for found in _judge(template, brand, policy, loc, text):
                told.add(loc)
                yield found


def _trials(template: Template, brand: Brand) -> Iterator[Mapping[str, Any]]:
    """One rendering with first values everywhere, then each other value and each other product by itself."""
    sample: dict[str, Any] = {name: _sample(variable) for name, variable in template.variables.items()}
    products = [product_of(line) for line in brand.products]
    yield from (
        {**values_of(template, brand, variables=variables, products=shown), "variant": 1}
        for variables, shown in [
            (sample, products[:1]),
            *(
                (sample | {name: value}, products[:1])
                for name, variable in template.variables.items()
                for value in variable.values
            ),
            *((sample, [product]) for product in products[1:]),
        ][:MAX_TRIALS]
    )


def _sample(variable: Any) -> str | int | float | bool:
    if variable.values:
        return str(variable.values[0])
    if variable.default is not None:
        return variable.default  # type: ignore[no-any-return]
    return {"integer": int(variable.minimum or 1), "number": float(variable.minimum or 1), "boolean": True}.get(
        variable.type, "Sample"
    )


def _judge(template: Template, brand: Brand, policy: Policy, loc: Loc, text: str) -> Iterator[Fault]:
    if loc in {("prompt",), ("alt_text",), ("caption",)} and (hit := find(policy, text)):
        what = f"says {hit.term!r}, which rule {hit.rule.id!r} of {policy.label} forbids: {hit.rule.why}"
        yield fault(template, loc, "policy_refused", what, hit.rule.remedy)
    if len(loc) != 2 or loc[0] != "scene" or not text:  # a path below `scene`
        return
    name = str(loc[1])
    if name in {"wall", "accent"} and text not in brand.palette:
        what = f"{text!r} is no colour of {brand.label}"
        yield fault(template, loc, "unknown_value", what, suggest(text, brand.palette))
    elif text not in PLACES.get(name, (text,)):
        yield fault(template, loc, "unknown_value", f"{text!r} is not understood", suggest(text, PLACES[name]))
