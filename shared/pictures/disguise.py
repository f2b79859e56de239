"""A picture that other programs would open as something else was made to be taken for it."""

import re

from shared.pictures.words import Refused

WEB_PAGE = re.compile(rb"<(?:script|html)[\s>]|<\?php\s|<!doctype html", re.IGNORECASE)
# What is looked for in the first kilobyte alone is short: further on compressed pixels would say it by chance.
BEGINNINGS = {rb"%PDF-": "a PDF", rb"<svg": "an SVG"}
BEGINNING = 1024  # where readers of PDF look, and web browsers that guess
ARCHIVES = {b"Rar!\x1a\x07": "a RAR archive", b"7z\xbc\xaf\x27\x1c": "a 7z archive", b"__HALT_COMPILER();": "a PHAR"}
END_OF_ZIP = b"PK\x05\x06"
END_BYTES = 22  # of the record a ZIP ends with, and a comment of at most 65,535 behind it


def refuse_disguised(data: bytes) -> None:
    """Raises Refused for a file that is a picture and something else at once."""
    other = _other(data)
    if other is not None:
        raise Refused("disguised", f"the file is a picture and {other} at once")


def _other(data: bytes) -> str | None:
    beginning = data[:BEGINNING]
    found = next((what for mark, what in BEGINNINGS.items() if mark in beginning), None)
    found = found or next((what for mark, what in ARCHIVES.items() if mark in data), None)
    if found is None and _ends_as_zip(data):
        found = "a ZIP archive"
    if found is None and WEB_PAGE.search(data):
        found = "a web page or script"
    return found


def _ends_as_zip(data: bytes) -> bool:
    """The record a ZIP ends with: its comment reaches to the last byte, or its directory stands right before it."""
    at = data.rfind(END_OF_ZIP, max(0, len(data) - END_BYTES - 65_535))
    if at < 0 or at + END_BYTES > len(data):
        return False
    comment = int.from_bytes(data[at + 20 : at + 22], "little")
    directory = at - int.from_bytes(data[at + 12 : at + 16], "little")
    whole = at + END_BYTES + comment == len(data)
    return whole or (0 <= directory < at and data[directory : directory + 4] == b"PK\x01\x02")
