import hashlib

import orjson

from services.postprocess.files import complete
from services.postprocess.ordering import needed, order
from shared import ids
from shared.events import Verdict
from shared.library.documents import Brand, BrandProduct, Rubric
from tests.postprocess.development import developed, made
from tests.postprocess.documents import recipe, rendition, step
from tests.postprocess.images import WORKSPACE, generated

WEB = recipe(rendition("960"), version=4)


def test_an_asset_version_names_every_file_by_its_bytes() -> None:
    event = generated(b"original", WEB)
    processed, stored = complete(event, developed(made(data=b"one"), made("480", data=b"two")), blocking=frozenset())
    assert [(file.rendition, file.recipe, file.width) for file in processed.files] == [
        ("960", "web@4", 960),
        ("480", "web@4", 960),
    ]
    for each in stored:
        assert each.file.sha256 == hashlib.sha256(each.data).hexdigest()
        assert each.file.key.startswith(f"ws/{WORKSPACE}/{event.asset_id}/{each.file.sha256}.")
        assert each.file.bytes == len(each.data)


def test_proxies_are_stored_and_not_published() -> None:
    processed, stored = complete(
        generated(b"original", WEB), developed(made(), made("proxy-320", channel=None)), blocking=frozenset()
    )
    assert [file.rendition for file in processed.proxies] == ["proxy-320"]
    assert [file.rendition for file in processed.files] == ["960"]
    assert {"960", "proxy-320"} <= {each.file.rendition for each in stored}


def test_files_carry_names_for_people() -> None:
    event = generated(b"original", WEB)
    processed, _ = complete(event, developed(made()), blocking=frozenset())
    tag = event.asset_id.hex[:6]
    assert processed.files[0].name == f"spring-oil-100-tile-3-v1-{tag}-web-960.webp"
    assert processed.original.name == f"spring-oil-100-tile-3-v1-{tag}-original.png"


def test_the_manifest_says_what_each_derivative_was_made_of() -> None:
    event = generated(b"original", WEB, focal=(0.25, 0.5))
    processed, stored = complete(event, developed(made(data=b"one")), blocking=frozenset())
    (manifest,) = [orjson.loads(each.data) for each in stored if each.file == processed.manifest]
    assert manifest["original_sha256"] == event.original.sha256
    assert manifest["recipes"]["web"]["digest"] == WEB.pin().digest
    assert manifest["focal"] == [0.25, 0.5]
    assert manifest["versions"] == {"pillow": "13.0.0"}
    sha256 = hashlib.sha256(b"one").hexdigest()
    assert manifest["derivatives"] == [
        {
            "derivative_id": str(ids.derivative_id(event.asset_id, sha256, WEB.pin().digest, "960")),
            "recipe": "web@4",
            "rendition": "960",
            "sha256": sha256,
            "width": 960,
            "height": 600,
            "operations": [],
            "format": "webp",
            "quality": 80,
        }
    ]


def test_an_original_that_is_not_what_inference_said_fails_its_checks() -> None:
    event = generated(b"original", WEB)
    development = developed(made(), media_type="image/jpeg", width=32)
    failed = {
        verdict.check: verdict
        for verdict in complete(event, development, blocking=frozenset())[0].checks
        if not verdict.ok
    }
    assert failed.keys() == {"format", "dimensions"}
    assert failed["format"].sentence == "the original is image/jpeg, asked image/png."


def test_a_file_over_its_budget_blocks_where_the_rubric_says_so() -> None:
    processed, _ = complete(
        generated(b"original", WEB), developed(made(data=b"x" * 300, max_bytes=256)), blocking=frozenset({"bytes"})
    )
    (verdict,) = [verdict for verdict in processed.checks if verdict.check == "bytes"]
    assert (verdict.ok, verdict.blocking, verdict.number, verdict.limit) == (False, True, 300, 256)


def test_a_child_is_told_nothing_but_plain_data() -> None:
    event = generated(b"original", WEB, focal=(0.5, 0.5), live_area=(0.1, 0.1, 0.9, 0.9))
    asked = order(event, {"web": WEB}, proxies=(320,))
    assert orjson.loads(orjson.dumps(asked))["recipes"]["web"]["renditions"][0]["name"] == "960"
    assert asked["live_area"] == (0.1, 0.1, 0.9, 0.9)


def test_the_brands_marks_that_overlays_take_are_fetched_and_no_others() -> None:
    marks = {"logo": "1" * 64, "light": "2" * 64, "vegan": "3" * 64, "seal": "4" * 64}
    brand = Brand(name="salt-linden", version=1, owner="design", title="Salt & Linden", marks=marks)
    steps = [step("resize"), step("logo", on_dark="light"), step("badge", mark="vegan", text={"en": "New"})]
    web = recipe(rendition(operations=steps))
    keys = needed(generated(b"original", web), {"web": web}, brand)
    assert sorted(keys) == ["mark/light", "mark/logo", "mark/vegan"]
    assert all(marks[name.removeprefix("mark/")] in key for name, key in keys.items())


def test_what_was_found_by_looking_is_told_beside_what_was_found_of_files() -> None:
    soft = Verdict(check="blur", ok=False, sentence="The product is soft.", code="soft")
    processed, _ = complete(generated(b"original", WEB), developed(made(), checks=[soft]), blocking=frozenset())
    assert soft in processed.checks


def test_a_child_makes_the_checks_that_the_rubric_names_at_its_limits() -> None:
    told = rubric(blocking_checks=["label"], rejecting_checks=["entropy"], limits={"palette": 6.5})
    asked = order(generated(b"original", WEB), {"web": WEB}, proxies=(), rubric=told)
    assert (asked["checks"], asked["limits"]) == (["entropy", "label", "palette"], {"palette": 6.5})


def test_the_approved_photo_is_fetched_with_the_mask_where_the_rubric_compares_with_it() -> None:
    brand = Brand(
        name="salt-linden",
        version=1,
        owner="design",
        title="Salt & Linden",
        products=[BrandProduct(sku="OIL-100", name="Body Oil", photo="5" * 64)],
    )
    event = generated(b"original", WEB)
    event = event.model_copy(update={"mask": event.original})
    keys = needed(event, {"web": WEB}, brand, rubric(blocking_checks=["fidelity"]))
    assert keys.keys() == {"mask", "photo"}
    assert "5" * 64 in keys["photo"]
    event = event.model_copy(update={"live_area": (0.2, 0.2, 0.8, 0.8)})
    assert needed(event, {"web": WEB}, brand, rubric(blocking_checks=["bytes"])) == {}
    of_two = event.model_copy(update={"brief": event.brief.model_copy(update={"skus": ["OIL-100", "TEA-080"]})})
    assert needed(of_two, {"web": WEB}, brand, rubric(blocking_checks=["fidelity"])) == {}


def test_where_nobody_said_where_the_product_is_its_shape_says_so_for_every_channel() -> None:
    event = generated(b"original", WEB)
    event = event.model_copy(update={"mask": event.original})
    assert needed(event, {"web": WEB}, None).keys() == {"mask"}
    cut = recipe(rendition(operations=[step("cut-out")]))
    said = event.model_copy(update={"live_area": (0.2, 0.2, 0.8, 0.8)})
    assert [needed(said, {"web": each}, None).keys() for each in (WEB, cut)] == [set(), {"mask"}]


def rubric(**fields: object) -> Rubric:
    return Rubric.model_validate({"name": "plain", "version": 1, "owner": "design", **fields})
