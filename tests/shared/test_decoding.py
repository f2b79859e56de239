"""What cannot be read is set aside, and says why without repeating what was sent."""

import time
from types import SimpleNamespace

import orjson
import pytest

from shared.decoding import SetAside, decode_event
from shared.topics import PROMPTS_ASSEMBLED
from tests.catalog.facts import Request


def test_why_a_record_cannot_be_read_repeats_nothing_of_it() -> None:
    """It is logged, and its body may hold a prompt."""
    (job,) = Request().jobs
    event = job.assembled()
    body = orjson.loads(event.body()) | {"prompt": {"text": "a secret campaign"}, "seed": "a secret campaign"}
    record = SimpleNamespace(headers=event.headers(), value=orjson.dumps(body), timestamp=time.time() * 1000)
    with pytest.raises(SetAside) as refused:
        decode_event(record, PROMPTS_ASSEMBLED)
    bad = refused.value.bad
    assert bad.reason == "bad_body"
    assert "seed: " in bad.detail and "prompt: " in bad.detail
    assert "secret" not in bad.detail
