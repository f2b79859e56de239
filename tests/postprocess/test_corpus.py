"""Every file of the corpus becomes the pixels that it should, or is refused with the code that it should be."""

import hashlib
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from services.intake.picture_child import rewritten
from services.postprocess.decoding import decode
from services.postprocess.orders import Order
from services.postprocess.recipes import develop
from shared.pictures import REMEDIES, Limits, Refused, admitted
from tests.postprocess.corpus import beside, groups, jpegs, pngs
from tests.postprocess.corpus.cases import Case, Pixels
from tests.postprocess.corpus.chunks import chunk, segment, with_chunks, with_segments
from tests.postprocess.corpus.judged import wrong
from tests.postprocess.corpus.mutations import mutations
from tests.postprocess.documents import recipe, rendition
from tests.postprocess.pictures import read

LIMITS = Limits()
Group = Callable[[], Iterable[Case]]


def developed(data: bytes) -> Pixels | str:
    try:
        return decode(data, LIMITS)[0].full
    except Refused as refused:
        return refused.code


def taken_in(data: bytes) -> Pixels | str:
    try:
        return np.asarray(read(rewritten(data, LIMITS)[0]))
    except Refused as refused:
        return refused.code


@pytest.mark.parametrize("group", groups.ALL.values(), ids=groups.ALL)
def test_postprocess_makes_of_every_file_what_it_should(group: Group) -> None:
    assert wrong(group(), developed) == []


@pytest.mark.parametrize("group", groups.ALL.values(), ids=groups.ALL)
def test_intake_makes_of_every_file_what_postprocess_does(group: Group) -> None:
    assert wrong(group(), taken_in) == []


def test_a_file_that_has_nothing_but_pixels_is_not_copied() -> None:
    for data in (pngs.small(), jpegs.small()):
        assert admitted(data, LIMITS).data is data


def test_each_refusal_is_in_the_guide_and_each_of_the_guides_is_one() -> None:
    guide = Path("docs/guides/safety.md").read_text()
    rows = re.findall(r"^\| `(\w+)`", guide, re.MULTILINE)
    assert sorted(rows) == sorted(REMEDIES)


def test_the_same_seed_changes_the_same_files_in_the_same_order() -> None:
    def sums(seed: int) -> list[str]:
        return [hashlib.sha256(data).hexdigest() for data in mutations(groups.good_files(), seed=seed, count=500)]

    assert sums(7) == sums(7) != sums(8)


@pytest.mark.parametrize(("kind", "data"), beside.told().items(), ids=list(beside.told()))
def test_what_was_written_beside_the_pixels_leaves_in_no_file(kind: str, data: bytes) -> None:
    assert beside.SECRETS & beside.found(data), "the file says it in the first place"
    files = rewritten(data, LIMITS)[0], *_files(data)
    assert [beside.found(file) for file in files] == [set()] * 6


def _files(data: bytes) -> list[bytes]:
    formats: dict[str, Any] = {name: rendition(name, 40, 30, format=name) for name in ("png", "jpeg", "webp", "avif")}
    made = develop(data, Order(recipes={"web": recipe(*formats.values())}, proxies=(32,)))
    return [each.data for each in made.derivatives]


# Limits and places of the walk that need other limits than a picture of the corpus has.


def code(data: bytes, **limits: int) -> str:
    with pytest.raises(Refused) as refused:
        admitted(data, Limits(**limits))
    return refused.value.code


def test_each_limit_refuses_by_its_name() -> None:
    png, jpeg = pngs.small(), jpegs.small()
    assert code(png, bytes=len(png) - 1) == "too_large"
    assert code(png, pixels=24 * 16 - 1) == code(png, side=23) == "too_many_pixels"
    assert code(with_chunks(png, chunk(b"tEXt", b"a\0bcd")), metadata=4) == "too_much_metadata"
    assert code(with_segments(jpeg, segment(0xFE, b"some words")), metadata=4) == "too_much_metadata"
    assert code(png, parts=2) == code(jpeg, parts=2) == "too_much_metadata"
    assert code(jpegs.jpeg(progressive=True), scans=2) == "too_slow"


def test_what_is_at_a_limit_passes() -> None:
    png = pngs.small()
    assert admitted(png, Limits(bytes=len(png), pixels=24 * 16, side=24, parts=3)).width == 24
