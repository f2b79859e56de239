from pathlib import Path

from shared.library.reading import Reading, read_folder, read_text

GOOD = b"""kind: rubric
name: tiles
version: 1
owner: studio@example.com
lines:
  - {id: focus, text: The label is sharp}
---
kind: rubric
name: heroes
version: 2
owner: studio@example.com
"""


def read(text: bytes | str) -> Reading:
    reading = Reading()
    read_text(text.encode() if isinstance(text, str) else text, file="a.yaml", into=reading)
    return reading


def findings(text: bytes | str) -> list[tuple[int, str]]:
    return [(finding.line, finding.problem.code) for finding in read(text).findings]


def test_one_file_holds_several_documents() -> None:
    reading = read(GOOD)
    assert [document.label for document, _ in reading.documents] == ["tiles@1", "heroes@2"]
    assert reading.findings == []


def test_a_folder_is_read_in_the_order_of_its_names(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "b.yml").write_bytes(GOOD.split(b"---\n")[1])
    (tmp_path / "a.yaml").write_bytes(GOOD.split(b"---\n")[0])
    assert [source.file for _, source in read_folder(tmp_path).documents] == ["a.yaml", "deep/b.yml"]


def test_an_empty_folder_says_so(tmp_path: Path) -> None:
    assert [finding.problem.code for finding in read_folder(tmp_path).findings] == ["empty"]


def test_an_unknown_field_is_reported_on_its_line_with_the_nearest_name() -> None:
    reading = read(GOOD.replace(b"lines:", b"linse:"))
    (finding,) = reading.findings
    assert (finding.line, finding.problem.code, finding.problem.where) == (5, "unknown_field", "linse")
    assert "did you mean lines?" in finding.problem.remedy


def test_a_fault_deep_inside_names_its_own_line_and_path() -> None:
    (finding,) = read(GOOD.replace(b"id: focus", b"id: Focus!")).findings
    assert (finding.line, finding.problem.where) == (6, "lines[0].id")


def test_a_missing_field_points_at_the_document() -> None:
    assert findings(GOOD.replace(b"name: heroes\n", b"")) == [(8, "missing_field")]


def test_an_unknown_kind_is_named() -> None:
    assert findings("kind: rubrik\nname: x\n") == [(1, "unknown_kind")]
    assert findings("name: x\n") == [(1, "unknown_kind")]
    assert findings("- 1\n") == [(1, "unknown_kind")]


def test_a_key_that_stands_twice_is_found_where_yaml_would_keep_the_last() -> None:
    assert findings(GOOD.replace(b"version: 1\n", b"version: 1\nversion: 2\n")) == [(4, "doubled_key")]


def test_broken_yaml_names_the_line() -> None:
    assert findings("kind: rubric\nname: [x\nversion: 1\n")[0][1] == "not_yaml"
    assert findings("kind: rubric\nname: 'x\n") == [(3, "not_yaml")]
    assert findings("kind: rubric\nsince: 2026-13-45\n") == [(1, "not_yaml")]


def test_aliases_are_refused_for_they_let_a_small_file_stand_for_an_endless_one() -> None:
    assert findings("kind: rubric\na: &a [1]\nb: [*a, *a]\n") == [(3, "not_yaml")]
    assert findings("kind: rubric\na: &a [*a]\n") == [(2, "not_yaml")]


def test_bytes_that_are_not_utf_8_are_reported() -> None:
    assert findings("kind: rubric\nname: caf\u00e9\n".encode("latin-1")) == [(1, "not_utf8")]
