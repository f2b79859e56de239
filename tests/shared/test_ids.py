"""Ids are derived: the same fact has the same id, and no two facts share one."""

from uuid import UUID, uuid5

from hypothesis import given
from hypothesis import strategies as st

from shared import ids

WORKSPACE = UUID("0f8fad5b-d9cb-469f-a165-70867728950e")
plain = st.text(st.characters(exclude_characters="\x1f\x00", codec="utf-8"), max_size=20)


@given(st.lists(plain, min_size=1, max_size=5), st.lists(plain, min_size=1, max_size=5))
def test_two_lists_of_fields_never_read_as_one(one: list[str], other: list[str]) -> None:
    assert (ids.derive(*one) == ids.derive(*other)) == (one == other)


@given(st.lists(plain, min_size=1, max_size=5))
def test_an_id_is_the_uuid5_any_other_program_computes(fields: list[str]) -> None:
    assert ids.derive(*fields) == uuid5(ids.NAMESPACE, "\x1f".join(fields))


def test_the_same_row_is_the_same_request_and_a_changed_row_another() -> None:
    first = ids.request_id_for_row(WORKSPACE, "winter", "r-1", ids.digest_of({"sku": "a", "variants": 3}))
    same = ids.request_id_for_row(WORKSPACE, "winter", "r-1", ids.digest_of({"variants": 3, "sku": "a"}))
    changed = ids.request_id_for_row(WORKSPACE, "winter", "r-1", ids.digest_of({"sku": "a", "variants": 2}))
    assert first == same != changed


def test_an_asset_version_does_not_depend_on_the_order_of_its_derivatives() -> None:
    asset = ids.asset_id(ids.derive("job"), 1)
    assert ids.asset_version_id(asset, "o", ["b", "a"]) == ids.asset_version_id(asset, "o", ["a", "b"])
    assert ids.asset_version_id(asset, "o", ["a"]) != ids.asset_version_id(asset, "o", ["a", "b"])


@given(st.integers(0, 2**31 - 1), st.integers(1, 100))
def test_a_requested_seed_moves_by_the_variant_and_stays_in_range(seed: int, variant: int) -> None:
    effective = ids.seed_for(ids.derive("job"), seed, variant)
    assert 0 <= effective < 2**31
    assert (effective - seed) % 2**31 == variant - 1


def test_without_a_requested_seed_every_job_has_its_own_and_always_the_same() -> None:
    one, other = ids.derive("one"), ids.derive("other")
    assert ids.seed_for(one, None, 1) == ids.seed_for(one, None, 1) != ids.seed_for(other, None, 1)
