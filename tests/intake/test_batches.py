import csv
import io
from typing import Any

import orjson
import pytest

from services.intake.acceptance import digest_of
from services.intake.batches import Row, Sheet, column_of, errors_csv_header, errors_csv_line, judged, open_sheet
from services.intake.files import Cutter, Format
from shared.errors import Rejected
from shared.events import Problem
from shared.library.offers import Offers
from tests.prompt.library import shelf

HEADER = "key,sku,asset_type,setting,headline,variants,channels,priority\n"
GOOD = "a,OIL-100,tile,linen,Slow,3,web|email,HIGH\n"


def opened(text: str, *, format: Format = "csv", **defaults: str) -> tuple[Sheet, list[Row]]:
    cutter = Cutter(format)
    parts = [*cutter.feed(text.encode()), *cutter.end()]
    sheet = open_sheet(
        format,
        parts[0] if parts else None,
        encoding=cutter.encoding,
        delimiter=cutter.delimiter,
        defaults={"campaign": "winter"} | defaults,
    )
    offers = Offers(shelf())
    rows = [row for place, part in enumerate(parts) for row in sheet.rows(part, first=place == 0)]
    return sheet, [judged(row, offers, {}) for row in rows]


def only(text: str, **options: Any) -> Row:
    (row,) = opened(text, **options)[1]
    return row


def codes(text: str, **options: Any) -> list[tuple[str, str | None]]:
    return [(problem.code, problem.where) for problem in only(text, **options).problems]


def test_columns_that_are_no_field_are_variables() -> None:
    row = only(HEADER + GOOD)
    assert row.key == "a" and row.line == 2 and row.asked is not None and row.resolved is not None
    assert row.asked.variables == {"setting": "linen", "headline": "Slow"}
    assert (row.asked.skus, row.asked.variants, row.asked.channels) == (["OIL-100"], 3, ["web", "email"])
    assert row.asked.priority == "high"


def test_titles_are_read_as_people_write_them() -> None:
    row = only("Key;SKU;Asset Type;Setting\n a ; OIL-100 ;tile;linen\n")
    assert row.key == "a" and row.resolved is not None


def test_several_products_stand_in_one_cell() -> None:
    row = only("key,sku,asset_type,setting\na,OIL-100 | FROST,tile,linen\n")
    assert row.asked is not None and row.asked.skus == ["OIL-100", "FROST"]


def test_an_empty_cell_was_not_given() -> None:
    row = only(HEADER + "a,OIL-100,tile,linen,,,,\n")
    assert row.resolved is not None and row.resolved.asked.variants == 1
    assert row.resolved.channels == ["web", "email"]


def test_a_default_fills_only_what_a_row_leaves_empty() -> None:
    _, rows = opened(HEADER + GOOD + "b,OIL-100,tile,linen,,,,\n", variants="7")
    assert [row.asked.variants for row in rows if row.asked] == [3, 7]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("a,OIL-100,tile,linen,Slow,3,web", ("too_few_cells", None)),
        ("a,OIL-100,tile,linen,Slow,3,web,high,more", ("too_many_cells", None)),
        (",OIL-100,tile,linen,Slow,3,web,high", ("missing_field", "key")),
        ("a\x07,OIL-100,tile,linen,Slow,3,web,high", ("malformed", "key")),
        (f"{'k' * 201},OIL-100,tile,linen,Slow,3,web,high", ("malformed", "key")),
        ("a,OIL-100,tile,marble,Slow,3,web,high", ("value_not_allowed", "variables.setting")),
        ("a,OIL-100,tile,linen,Slow,many,web,high", ("wrong_type", "variants")),
        ("a,OIL-100,tile,linen,Slow,101,web,high", ("too_many_permutations", "variants")),
        ("a,OIL-100,tile,linen,Slow,3,tv,high", ("unknown_channel", "channels[0]")),
        ("a,OIL-100,tile,linen,It cures,3,web,high", ("policy_refused", "variables.headline")),
        ("a,OIL-100,tile,linen,Slow,3,web,urgent", ("unknown_value", "priority")),
        ("a,OIL-100,tile,li\x00nen,Slow,3,web,high", ("control_character", "variables.setting")),
    ],
)
def test_a_bad_row_says_what_and_where(line: str, fault: tuple[str, str | None]) -> None:
    assert codes(f"{HEADER}{line}\n") == [fault]


def test_an_extra_column_is_a_fault_only_where_it_says_something() -> None:
    _, rows = opened(HEADER.replace("\n", ",mood\n") + "a,OIL-100,tile,linen,,1,,,\nb,OIL-100,tile,linen,,1,,,calm\n")
    assert [[problem.code for problem in row.problems] for row in rows] == [[], ["unknown_variable"]]


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("sku,asset_type", "missing_column"),
        ("key,sku", "missing_column"),
        ("key,asset_type,key", "doubled"),
        ("key,asset_type,Asset Type", "doubled"),
        ("key,asset_type,", "malformed"),
        (",".join(f"c{number}" for number in range(201)), "too_many"),
    ],
)
def test_a_header_that_cannot_be_used_refuses_the_file_before_it_is_stored(header: str, code: str) -> None:
    with pytest.raises(Rejected) as caught:
        opened(f"{header}\n1,2,3\n")
    assert caught.value.code == code and caught.value.remedy


def test_a_campaign_column_does_as_well_as_one_for_the_file() -> None:
    cutter = Cutter("csv")
    (part,) = [*cutter.feed(b"key,campaign,asset_type\na,winter,tile\n"), *cutter.end()]
    assert open_sheet("csv", part, encoding="utf-8", delimiter=",", defaults={}).header[1] == "campaign"


def test_an_unknown_default_is_refused() -> None:
    with pytest.raises(Rejected, match="did you mean campaign"):
        opened(HEADER + GOOD, campain="x")


def test_lines_of_json_are_rows_too() -> None:
    good = {"key": "a", "asset_type": "tile", "skus": ["OIL-100"], "variables": {"setting": "linen"}}
    text = "\n".join([orjson.dumps(good).decode(), "", "{", "[]", '{"key": 7}', '{"key": "b", "colour": 1}'])
    _, rows = opened(text, format="jsonl")
    assert [(row.line, [problem.code for problem in row.problems]) for row in rows] == [
        (1, []),
        (3, ["not_json"]),
        (4, ["not_json"]),
        (5, ["wrong_type"]),
        (6, ["unknown_field"]),
    ]


def test_the_digest_is_of_what_was_meant() -> None:
    def digest(text: str) -> str:
        row = only(text)
        assert row.asked is not None
        return digest_of(row.asked)

    same = digest("key,asset_type,sku,setting,headline\na,tile,OIL-100,linen,Slow\n")
    assert digest("headline;setting;key;asset_type;sku;variants;priority\nSlow;linen;a;tile;OIL-100;1;normal\n") == same
    assert digest("key,asset_type,sku,setting,headline\na,tile,OIL-100,linen,Slower\n") != same


def test_errors_csv_is_the_row_with_problem_column_and_fix_and_can_be_sent_back() -> None:
    bad = 'a,OIL-100,tile,marble,"Slow, ""down""",many,tv,high\n'
    sheet, (row,) = opened(HEADER + bad)
    text = errors_csv_header(sheet.columns, delimiter=",")
    text += errors_csv_line(sheet.columns, row.cells, row.problems, delimiter=",")
    header, cells = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""))
    assert header == [*HEADER.strip().split(","), "problem", "column", "fix"]
    assert cells[:8] == ["a", "OIL-100", "tile", "marble", 'Slow, "down"', "many", "tv", "high"]
    assert cells[9] == "variants"
    repaired = text.replace("many", "2").replace("marble", "linen").replace(",tv,", ",web,")
    again = only(repaired)
    assert again.resolved is not None and again.asked is not None and "problem" not in again.asked.variables
    sheet, (row,) = opened(text)
    assert errors_csv_line(sheet.columns, row.cells, row.problems, delimiter=",").count("many") == 1


def test_a_problem_is_told_by_the_column_a_person_looks_for() -> None:
    def column(where: str | None, *header: str) -> str:
        return column_of(Problem(code="c", what="w", where=where, remedy="r"), header)

    assert column("variables.setting", "setting") == "setting"
    assert column("skus[0]", "key", "sku") == "sku"
    assert column("skus[0]", "key", "skus") == "skus"
    assert column(None) == ""
