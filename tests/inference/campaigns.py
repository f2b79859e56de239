"""A campaign's CSV file as the first two stages take it: its rows judged, then its prompts."""

from collections.abc import Iterable
from pathlib import Path
from uuid import UUID

from services.intake.batches import Row, judged, open_sheet
from services.intake.domain import Origin, accepted
from services.intake.files import Cutter
from services.prompt.domain import assemble
from shared.events import PromptAssembled
from shared.library.offers import Offers
from shared.library.shelf import Shelf
from tests.inference.prompts import NOW, WORKSPACE


def rows_of(path: Path, shelf: Shelf, *, campaign: str) -> list[Row]:
    cutter = Cutter("csv")
    (part,) = [*cutter.feed(path.read_bytes()), *cutter.end()]
    defaults = {"campaign": campaign}
    sheet = open_sheet("csv", part, encoding=cutter.encoding, delimiter=cutter.delimiter, defaults=defaults)
    offers = Offers(shelf)
    return [judged(row, offers, {}) for row in sheet.rows(part, first=True)]


def prompts_of(rows: Iterable[Row]) -> list[PromptAssembled]:
    """Of those that are right."""
    made: list[PromptAssembled] = []
    for number, row in enumerate(rows):
        if row.resolved is None:
            continue
        offer = row.resolved.offer
        origin = Origin(request_id=UUID(int=number), workspace=WORKSPACE, principal="demo", cause="demo", kind="batch")
        events = assemble(
            accepted(row.resolved, origin, now=NOW),
            template=offer.template,
            brand=offer.brand,
            policy=offer.policy,
            campaign=offer.campaign,
        )
        made += [event for event in events if isinstance(event, PromptAssembled)]
    return made
