import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.intake.files import MAX_ROW_BYTES, PART_BYTES, Cutter, Format, Part, csv_rows, json_rows
from shared.errors import Rejected


def cut(data: bytes, *, format: Format = "csv", chunk: int = 64 * 1024) -> tuple[Cutter, list[Part]]:
    cutter = Cutter(format)
    parts = []
    for start in range(0, len(data), chunk):
        parts += list(cutter.feed(data[start : start + chunk]))
    return cutter, parts + list(cutter.end())


def rows_of(data: bytes, *, chunk: int = 64 * 1024) -> list[tuple[int, list[str]]]:
    cutter, parts = cut(data, chunk=chunk)
    return [row for part in parts for row in csv_rows(part, encoding=cutter.encoding, delimiter=cutter.delimiter)]


def refusal(data: bytes, *, chunk: int = 64 * 1024) -> Rejected:
    with pytest.raises(Rejected) as caught:
        cut(data, chunk=chunk)
    return caught.value


CELL = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=20)


@settings(max_examples=150, deadline=None)
@given(
    rows=st.lists(st.lists(CELL, min_size=3, max_size=3), min_size=1, max_size=40),
    wide=st.integers(1, 6000),
    chunk=st.integers(1, 100_000),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_parts_hold_exactly_the_rows_of_the_file(rows: list[list[str]], wide: int, chunk: int, end: str) -> None:
    written = io.StringIO()
    writer = csv.writer(written, lineterminator=end, quoting=csv.QUOTE_ALL)
    writer.writerow(["key", "a", "b"])
    writer.writerows([f"{cell} {'x' * wide}" for cell in row] for row in rows)
    data = written.getvalue().encode()
    _, parts = cut(data, chunk=chunk)
    assert b"".join(part.data for part in parts) == data
    assert all(len(part.data) <= PART_BYTES + MAX_ROW_BYTES for part in parts)
    read = [cells for part in parts for _, cells in csv_rows(part, encoding="utf-8", delimiter=",")]
    assert read == [row for row in csv.reader(io.StringIO(data.decode(), newline="")) if any(c.strip() for c in row)]
    line = 1
    for part in parts:
        assert part.first_line == line
        line += part.data.count(b"\n")


def test_a_row_is_named_by_the_line_it_begins_on() -> None:
    assert rows_of(b'key,a\n1,"two\nlines"\n\n2,b\n') == [(1, ["key", "a"]), (2, ["1", "two\nlines"]), (5, ["2", "b"])]


def test_a_row_of_empty_cells_is_blank() -> None:
    assert [line for line, _ in rows_of(b"key,a\n,\n ,\n1,b\n")] == [1, 4]


@pytest.mark.parametrize(
    ("data", "delimiter"),
    [
        (b"key;a\n1;2\n", ";"),
        (b"key\ta\n", "\t"),
        (b"key,a;b\n", ","),
        (b"key\n", ","),
        (b'"sep=;"\nkey;a\n', ";"),
        (b"sep=|\nkey|a\n", "|"),
    ],
)
def test_the_delimiter_is_seen_in_the_header(data: bytes, delimiter: str) -> None:
    assert cut(data)[0].delimiter == delimiter


def test_what_excel_writes_before_the_header_is_not_a_row_and_lines_still_count() -> None:
    assert rows_of(b"sep=;\r\nkey;a\r\n1;2\r\n") == [(2, ["key", "a"]), (3, ["1", "2"])]


def test_a_byte_order_mark_is_no_part_of_the_first_column() -> None:
    assert rows_of(b"\xef\xbb\xbfkey,a\n")[0] == (1, ["key", "a"])


def test_a_file_without_utf_8_is_cp_1252() -> None:
    cutter, _ = cut("key;a\r\n1;Café – “ruhig”\r\n".encode("cp1252"))
    assert cutter.encoding == "cp1252"
    assert rows_of("key;a\r\n1;Café – “ruhig”\r\n".encode("cp1252"))[1] == (2, ["1", "Café – “ruhig”"])


def test_a_late_byte_decides_for_the_whole_file() -> None:
    long = b"key,a\n" + b"1,plain\n" * 40_000 + "2,Café\n".encode("cp1252")
    assert rows_of(long)[-1] == (40_002, ["2", "Café"])


def test_a_file_of_two_encodings_is_refused_with_the_line() -> None:
    mixed = "key,a\n1,Café\n".encode() + "2,Café\n".encode("cp1252")
    assert (refusal(mixed).code, refusal(mixed).where) == ("not_utf8", "line 3")
    assert refusal(b"\xef\xbb\xbfkey,a\n1,\xe9\n").where == "line 2"
    assert refusal(b"key,a\n1,\x81\n").where == "line 2"
    assert refusal("key,a\n".encode("utf-16")).code == "not_utf8"


def test_a_quote_inside_a_text_is_text() -> None:
    assert rows_of(b'key,a\n1,5" pipe\n2,ok\n') == [(1, ["key", "a"]), (2, ["1", '5" pipe']), (3, ["2", "ok"])]


@pytest.mark.parametrize("rows", [1, 50_000])
def test_a_quote_that_is_never_closed_is_refused_where_it_is_opened(rows: int) -> None:
    found = refusal(b'key,a\n1,b\n2,"open\n' + b"3,c\n" * rows)
    assert found.where == "line 3" and found.remedy


def test_a_row_without_end_is_refused_before_it_fills_the_memory() -> None:
    assert refusal(b"key,a\n" + b"x" * 400_000, chunk=1000).code == "row_too_long"
    assert refusal(b"x" * 400_000, chunk=1000).where == "line 1"


def test_lines_of_json_are_cut_between_lines() -> None:
    data = b"".join(b'{"key": "%d"}\n' % number for number in range(20_000))
    _, parts = cut(data, format="jsonl")
    lines = [row for part in parts for row in json_rows(part, encoding="utf-8")]
    assert lines[0] == (1, '{"key": "0"}') and lines[-1] == (20_000, '{"key": "19999"}') and len(parts) > 1


def test_an_empty_file_has_no_parts() -> None:
    assert cut(b"")[1] == [] and cut(b"\n\n")[1] == []
