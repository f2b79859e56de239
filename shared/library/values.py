"""What a template can name: its own variables, and the words listed here."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from shared.events import Product
from shared.library.documents import Brand, BrandProduct, Campaign, Scalar, Template
from shared.library.rendering import names_in

WORDS = frozenset(("product", "products", "brand", "campaign", "locale", "variant", "variants", "components"))
Path = tuple[int | str, ...]


def values_of(
    template: Template,
    brand: Brand,
    *,
    variables: Mapping[str, Scalar],
    products: Sequence[Product],
    campaign: Campaign | None = None,
    locale: str = "en",
    variants: int = 1,
) -> dict[str, Any]:
    """All but `components` and `variant`, which differ within one request. A variable not given is empty."""
    described = [product_values(product) for product in products]
    return {
        **{name: "" if variable.default is None else variable.default for name, variable in template.variables.items()},
        **variables,
        "product": described[0] if described else {},
        "products": described,
        "brand": brand_values(brand),
        "campaign": {"title": campaign.title, "brief": campaign.brief} if campaign else {"title": "", "brief": ""},
        "locale": locale,
        "variants": variants,
    }


def product_values(product: Product) -> dict[str, Any]:
    values = product.model_dump()
    values["label"] = {"title": product.name, "line": "", **product.label}
    return values


def product_of(line: BrandProduct) -> Product:
    """A line of the catalogue as a request carries it."""
    return Product(**line.model_dump(exclude={"confidentiality"}))


def brand_values(brand: Brand) -> dict[str, Any]:
    return {
        "title": brand.title,
        "palette": brand.palette,
        "style": brand.style,
        "composition": brand.composition,
        "lighting": brand.lighting,
        "background": brand.background,
        "licence": brand.licence,
    }


def sources_of(template: Template) -> Iterator[tuple[Path, str]]:
    """Every string of the template that is Jinja2, with the path to it."""
    yield from ((("components", name), source) for name, source in template.components.items())
    yield ("prompt",), template.prompt
    yield ("negative_prompt",), template.negative_prompt
    yield from strings_in(template.scene, ("scene",))
    yield ("alt_text",), template.alt_text
    yield ("caption",), template.caption


def strings_in(value: Any, path: Path) -> Iterator[tuple[Path, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from strings_in(inner, (*path, str(key)))
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from strings_in(inner, (*path, place))


def names_of(template: Template) -> frozenset[str]:
    """Every name the template's strings ask for. Raises TemplateFault."""
    return frozenset().union(*(names_in(source) for _, source in sources_of(template)))
