"""What a campaign makes of one asset type, put together from the library."""

from dataclasses import dataclass

from shared.events import Pin, Product
from shared.library.documents import Brand, BrandProduct, Campaign, Policy, Recipe, Rubric, Template
from shared.library.rendering import TemplateFault, names_in
from shared.library.shelf import Shelf
from shared.library.values import names_of, product_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What a campaign makes of one asset type: every document found, and pinned."""

    asset_type: str
    campaign: Campaign
    template: Template
    brand: Brand
    policy: Policy
    rubric: Rubric
    recipes: dict[str, Recipe]
    pins: dict[str, Pin]
    recipe_pins: dict[str, Pin]
    catalogue: dict[str, BrandProduct]
    products: dict[str, Product]
    shows_a_product: bool


class Offers:
    """The offers of one shelf, each put together once: a file of 100,000 rows asks for the same three."""

    def __init__(self, shelf: Shelf) -> None:
        self.shelf = shelf
        self._known: dict[tuple[str, str, str], Offer | None] = {}

    def find(self, campaign: Campaign, asset_type: str, template: str) -> Offer | None:
        """None where something the campaign names is not published (any more)."""
        key = (campaign.label, asset_type, template)
        if key not in self._known:
            self._known[key] = self._put_together(campaign, asset_type, template)
        return self._known[key]

    def _put_together(self, campaign: Campaign, asset_type: str, reference: str) -> Offer | None:
        made = campaign.asset_types[asset_type]
        template = self.shelf.find(Template, reference)
        brand = self.shelf.find(Brand, campaign.brand)
        rubric = self.shelf.find(Rubric, made.rubric)
        policy = self.shelf.find(Policy, template.policy) if template else None
        found = {channel: self.shelf.find(Recipe, name) for channel, name in made.recipes.items()}
        recipes = {channel: recipe for channel, recipe in found.items() if recipe is not None}
        if template is None or brand is None or rubric is None or policy is None or len(recipes) < len(found):
            return None
        documents = {"template": template, "brand": brand, "policy": policy, "rubric": rubric, "campaign": campaign}
        return Offer(
            asset_type=asset_type,
            campaign=campaign,
            template=template,
            brand=brand,
            policy=policy,
            rubric=rubric,
            recipes=recipes,
            pins={name: document.pin() for name, document in documents.items()},
            recipe_pins={channel: recipe.pin() for channel, recipe in recipes.items()},
            catalogue={line.sku: line for line in brand.products},
            products={line.sku: product_of(line) for line in brand.products},
            shows_a_product=_shows_a_product(template, brand),
        )


def _shows_a_product(template: Template, brand: Brand) -> bool:
    caption = "" if template.caption else brand.caption or ""
    try:
        return "product" in names_of(template) | names_in(caption)
    except TemplateFault:
        return False  # the prompt stage says what is wrong with it
