from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.postprocess.names import NAME, file_name, slug
from shared.events import Brief

ASSET = UUID("3fa9c1d2-0000-5000-8000-000000000001")


def named(*, rendition: str = "web-960", **brief: object) -> str:
    asked = {"asset_type": "tile", "template": "product-tile@3", "brand": "salt-linden", **brief}
    return file_name(Brief.model_validate(asked), asset_id=ASSET, rendition=rendition, extension="webp")


def test_a_name_says_what_the_file_is() -> None:
    name = named(campaign="spring-harvest", skus=["OIL-100"], variant=2)
    assert name == "spring-harvest-oil-100-product-tile-3-v2-3fa9c1-web-960.webp"


def test_without_a_campaign_the_asset_type_stands_first() -> None:
    assert named().startswith("tile-product-tile-3-v1-")


def test_several_products_are_counted() -> None:
    assert "-oil-100-and-2-" in named(skus=["OIL-100", "TEA-1", "MUG"])


def test_accents_are_folded() -> None:
    assert slug("Été à Zürich") == "ete-a-zurich"


def test_names_in_other_scripts_differ_and_stay_the_same() -> None:
    assert slug("夏の塩") == slug("夏の塩") != slug("冬の塩")


anything = st.text(min_size=1, max_size=300)


@given(campaign=anything, sku=anything, asset_type=anything, rendition=anything)
def test_whatever_people_write_the_name_is_safe(campaign: str, sku: str, asset_type: str, rendition: str) -> None:
    name = named(campaign=campaign, skus=[sku], asset_type=asset_type, rendition=rendition)
    assert NAME.fullmatch(name)
    assert len(name) <= 255


@pytest.mark.parametrize("text", ["../../etc/passwd", "CON", "a/b\\c", "x\u0000y", "\u202egpj.exe", "-rf"])
def test_a_name_never_leaves_its_folder(tmp_path: Path, text: str) -> None:
    name = named(campaign=text, skus=[text], rendition=text)
    assert Path(name).name == name
    (tmp_path / name).write_bytes(b"")
    assert [found.name for found in tmp_path.iterdir()] == [name]
