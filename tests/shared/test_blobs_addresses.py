"""Signed addresses of the file store: they open one file, for a while, and nothing else."""

import hashlib
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.blobs import Address, blob_key, content_disposition, open_blobs, sign_address, verify_address
from shared.errors import Rejected

OWNER = UUID("00000000-0000-4000-8000-000000000002")
ADDRESS = Address(
    key=blob_key(OWNER, OWNER, hashlib.sha256(b"").hexdigest(), "png"),
    expires=1_000,
    filename="Öl – 1.png",
    media_type="image/png",
)
TOKEN = sign_address(ADDRESS, secret="s")


def test_an_address_opens_what_was_signed_until_it_expires() -> None:
    assert verify_address(TOKEN, secret="s", now=999.9) == ADDRESS


def test_an_expired_address_is_refused() -> None:
    with pytest.raises(Rejected) as expired:
        verify_address(TOKEN, secret="s", now=1_000.0)
    assert expired.value.code == "address_expired"


def test_an_address_signed_with_another_secret_is_refused() -> None:
    with pytest.raises(Rejected) as altered:
        verify_address(TOKEN, secret="t", now=0)
    assert altered.value.code == "address_altered"


@given(place=st.integers(0, len(TOKEN) - 1), character=st.characters())
def test_an_address_with_one_character_changed_is_refused(place: int, character: str) -> None:
    altered = TOKEN[:place] + character + TOKEN[place + 1 :]
    if altered != TOKEN:
        with pytest.raises(Rejected):
            verify_address(altered, secret="s", now=0)


@given(token=st.text())
def test_an_address_that_is_none_is_refused(token: str) -> None:
    with pytest.raises(Rejected):
        verify_address(token, secret="s", now=0)


async def test_the_file_stores_address_is_one_of_ours(tmp_path: Path) -> None:
    blobs = open_blobs(tmp_path.as_uri(), public_url="https://images.example/", secret="s")
    address = urlsplit(await blobs.address(ADDRESS.key, seconds=60, filename="a.png"))
    assert (address.scheme, address.netloc) == ("https", "images.example")
    token = address.path.removeprefix("/v1/blobs/")
    assert verify_address(token, secret="s", now=0).key == ADDRESS.key


@given(filename=st.text(max_size=80))
def test_no_filename_can_leave_its_header(filename: str) -> None:
    header = content_disposition(filename)
    assert header.isascii()
    assert header.isprintable()
    assert header.count('"') == 2
    assert "\\" not in header


@pytest.mark.parametrize("url", ["", "folder", "file://host/folder", "s3://", "http://example/x"])
def test_an_address_of_no_store_is_refused_with_a_remedy(url: str) -> None:
    with pytest.raises(Rejected, match="write file:///folder or s3://bucket"):
        open_blobs(url, public_url="", secret="s")
