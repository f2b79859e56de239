"""What `make demo BACKEND=diffusion` adds to the demo's library: every job of it is one for the small model."""

from datetime import date
from functools import lru_cache

from deploy.cli.demo import CAMPAIGNS, LIBRARY, MODELS, Maker
from services.inference.backends.diffusion.drawing import COLOURS, SHAPES, SIZE, WORDS
from services.inference.domain import ask_of
from services.inference.routing import Ask, Decision, decide
from shared.events import Confidentiality, PromptAssembled
from shared.library.documents import Routes
from shared.library.lint import lint
from shared.library.reading import read_folder
from shared.library.shelf import Shelf
from tests.inference.campaigns import prompts_of, rows_of

CAMPAIGN = CAMPAIGNS[Maker.DIFFUSION]


@lru_cache(maxsize=1)
def shelf() -> Shelf:
    return Shelf([document for folder in (LIBRARY, CAMPAIGN.folder) for document, _ in read_folder(folder).documents])


def table() -> Routes:
    found = shelf().find(Routes, "routes")
    assert found is not None
    return found


@lru_cache(maxsize=1)
def prompts() -> list[PromptAssembled]:
    rows = rows_of(CAMPAIGN.folder / "campaign.csv", shelf(), campaign=CAMPAIGN.name)
    refused = [(row.key, [problem.code for problem in row.problems]) for row in rows if row.resolved is None]
    assert refused == [("S07", ["value_not_allowed"])]
    return prompts_of(rows)


def test_the_library_has_no_fault_beside_the_demo_s() -> None:
    reading = read_folder(CAMPAIGN.folder)
    assert reading.findings == []
    demo = Shelf([document for document, _ in read_folder(LIBRARY).documents])
    assert lint([document for document, _ in reading.documents], published=demo) == []


def test_every_prompt_is_in_words_that_the_model_knows_and_goes_to_it() -> None:
    assert len(prompts()) == 24
    for event in prompts():
        words = event.prompt.replace(",", " ,").split()
        assert set(words) <= set(WORDS)
        assert len(set(words) & COLOURS.keys()) == len(set(words) & set(SHAPES)) == 1
        decision = decide(ask_of(event), table=table(), today=date(2026, 11, 22))
        assert isinstance(decision, Decision)
        assert (decision.backend.name, decision.model) == ("small-model", "small-products")
        assert (MODELS / decision.model / "model_index.json").is_file()
        assert event.parameters.width == event.parameters.height == SIZE


def test_what_is_larger_than_the_model_draws_is_drawn_as_before() -> None:
    decision = decide(Ask(confidentiality=Confidentiality.PUBLIC), table=table(), today=date(2026, 11, 22))
    assert isinstance(decision, Decision)
    assert decision.backend.name == "proof"
