"""`docs/promises.md` names a test that exists, or a command that the Makefile has, for every promise."""

from tests.promises import PAGE, Promise, promises, unmet

BROKEN = """
| promise | shown by |
|---|---|
| One | `tests/contracts/test_promises.py::test_no_such_test` |
| Two | `make no-such-target` |
| Three |  |
| Four | `tests/contracts/test_promises.py` |
"""


def test_every_promise_is_shown_by_a_test_or_a_command_that_exists() -> None:
    found = promises(PAGE.read_text())
    assert len(found) > 20
    assert [str(problem) for problem in unmet(found)] == []


def test_a_promise_with_an_unknown_test_or_command_is_found() -> None:
    assert [problem.text for problem in unmet(promises(BROKEN))] == ["One", "Two", "Three"]


def test_a_row_of_the_page_is_read_with_all_it_names() -> None:
    page = "| promise | shown by |\n|---|---|\n| It works | `tests/a.py::test_a`, `make demo` |\n"
    assert promises(page) == [Promise("It works", ("tests/a.py::test_a", "make demo"))]
