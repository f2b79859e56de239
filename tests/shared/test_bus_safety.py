"""Start-up refuses a subscriber that differs in any one of the settings that could lose or double a record."""

from typing import Any

import pytest
from faststream import AckPolicy
from faststream.kafka import KafkaBroker

from shared.bus import UnsafeSubscriber, assert_safe

SAFE: dict[str, Any] = {
    "group_id": "g",
    "batch": True,
    "auto_offset_reset": "earliest",
    "ack_policy": AckPolicy.MANUAL,
    "no_reply": True,
}


def subscriber(**changes: Any) -> Any:
    return KafkaBroker("127.0.0.1:1").subscriber("topic", **(SAFE | changes))


def test_the_bus_s_own_settings_are_safe() -> None:
    assert_safe(subscriber())


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"ack_policy": AckPolicy.NACK_ON_ERROR}, "ack_policy"),
        ({"ack_policy": AckPolicy.ACK}, "ack_policy"),
        ({"auto_offset_reset": "latest"}, "auto_offset_reset"),
        ({"no_reply": False}, "no_reply"),
        ({"batch": False, "max_workers": 4}, "max_workers"),
    ],
    ids=str,
)
def test_one_setting_that_differs_is_refused_by_name(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(UnsafeSubscriber, match=named):
        assert_safe(subscriber(**changes))
