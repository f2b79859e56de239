"""A log line written while an event is handled carries that event's ids, and no other line does."""

from shared.contracts.golden import golden
from shared.events import ImageGenerated
from shared.observability import CURRENT_EVENT, name_event


def test_a_line_carries_the_ids_of_the_event_at_hand() -> None:
    event = golden(ImageGenerated)
    CURRENT_EVENT.set(event)
    line = name_event(None, "info", {"event": "image.stored", "job_id": "given"})
    assert (line["event_id"], line["workspace"]) == (str(event.event_id), str(event.workspace))
    assert line["job_id"] == "given"


def test_a_line_of_nobodys_event_carries_none() -> None:
    CURRENT_EVENT.set(None)
    assert name_event(None, "info", {"event": "service.ready"}) == {"event": "service.ready"}
