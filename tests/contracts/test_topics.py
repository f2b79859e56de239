"""The table of topics is the truth: every subscriber, every publisher and every event is in it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared import events, topics
from shared.events import ALL, Event
from shared.topics import TOPIC_OF, TOPICS, WITHOUT_PRODUCER, Topic

SERVICES = Path(__file__).parents[2] / "services"
STAGES = ("intake", "prompt", "inference", "postprocess", "catalog", "publisher")
CONSTANTS = {name: value for name, value in vars(topics).items() if isinstance(value, Topic)}


def calls(stage: str) -> Iterator[ast.Call]:
    for path in (SERVICES / stage).rglob("*.py"):
        yield from (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))


def subscribed(stage: str) -> set[str]:
    """Topics of `bus.transform(…)` and `bus.project(…)`, and those every stage keeps through `wire_current`."""
    found: set[str] = set()
    for call in calls(stage):
        name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        if name in {"transform", "project"}:
            for argument in call.args:
                value = argument.value if isinstance(argument, ast.Starred) else argument
                for node in ast.walk(value):
                    if isinstance(node, ast.Name) and node.id in CONSTANTS:
                        found.add(CONSTANTS[node.id].name)
        if name == "wire_current":
            found |= {topics.LIBRARY_ITEMS.name, topics.WORKSPACES.name}
    return found


def written(stage: str) -> set[type[Event]]:
    """Events whose `.of(…)` the stage calls."""
    return {
        getattr(events, call.func.value.id)
        for call in calls(stage)
        if isinstance(call.func, ast.Attribute)
        and call.func.attr == "of"
        and isinstance(call.func.value, ast.Name)
        and isinstance(getattr(events, call.func.value.id, None), type)
        and issubclass(getattr(events, call.func.value.id), Event)
    }


@pytest.mark.parametrize("event", ALL, ids=lambda event: event.__name__)
def test_every_event_travels_on_one_topic_under_that_topics_key(event: type[Event]) -> None:
    assert [topic for topic in TOPICS if event in topic.events] == [TOPIC_OF[event]]
    assert TOPIC_OF[event].key == event.KEY
    assert {event.KEY, event.SUBJECT} <= set(event.model_fields)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_subscribes_only_to_topics_that_name_it(stage: str) -> None:
    allowed = {topic.name for topic in TOPICS if stage in topic.consumers}
    assert subscribed(stage) <= allowed


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_writes_only_events_of_topics_that_name_it(stage: str) -> None:
    allowed = {event for topic in TOPICS if stage in topic.producers for event in topic.events}
    assert written(stage) <= allowed


def test_events_without_a_producer_are_listed_as_such_and_no_others() -> None:
    made = set().union(*(written(stage) for stage in STAGES))
    assert set(ALL) - made == set(WITHOUT_PRODUCER)


def test_topics_of_jobs_share_one_key() -> None:
    shared = [topic for topic in TOPICS if any("job_id" in event.model_fields for event in topic.events)]
    assert {topic.key for topic in shared if topic is not topics.CANCELS_REQUESTED} == {"job_id"}


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_a_segment_is_at_most_a_seventh_of_the_retention(topic: Topic) -> None:
    assert topic.name.endswith(".v1")
    assert topic.config["message.timestamp.type"] == "LogAppendTime"
    if not topic.compacted:
        assert int(topic.config["segment.ms"]) * 7 <= int(topic.config["retention.ms"])
