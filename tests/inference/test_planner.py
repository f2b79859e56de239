"""Who steps together: only shapes worth using, nobody padded unasked, and everybody in turn."""

from collections import Counter
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from services.inference.backends.diffusion.planner import (
    ENOUGH,
    REMEMBERED,
    SHAPES,
    Batch,
    Pace,
    Paces,
    Usage,
    Want,
    plan,
)
from services.inference.domain import SHARES

LANES = tuple(SHARES)
WANTS = st.lists(
    st.tuples(
        st.sampled_from("ab"),
        st.sampled_from(LANES),
        st.sampled_from((None, None, None, *SHAPES)),
        st.sampled_from((None, *range(8))),
    ),
    min_size=1,
    max_size=20,
).map(
    lambda rows: [
        Want(row, group, lane, row, pinned, None if pinned is None else place)
        for row, (group, lane, pinned, place) in enumerate(rows)
    ]
)
WORTH = st.sampled_from([SHAPES[:many] for many in range(1, len(SHAPES) + 1)])


def all_shapes(group: object) -> tuple[int, ...]:
    return SHAPES


@given(WANTS, WORTH, st.sampled_from((None, *LANES)))
def test_a_batch_is_of_one_group_of_a_shape_worth_using_and_padded_only_where_it_is_pinned(
    wants: list[Want], worth: tuple[int, ...], owed: str | None
) -> None:
    batch = plan(wants, shapes=lambda group: worth, owed=owed)
    rows = [wants[row] for row in batch.rows]
    assert 1 <= len(set(batch.rows)) == len(rows) <= batch.shape
    assert len(set(batch.places)) == len(rows) and set(batch.places) <= set(range(batch.shape))
    for want, place in zip(rows, batch.places, strict=True):
        assert want.place in (None, place) or want.place >= batch.shape
    assert len({(want.group, want.pinned) for want in rows}) == 1
    if rows[0].pinned is None:
        assert len(rows) == batch.shape in worth
    else:
        assert batch.shape == rows[0].pinned


@given(WANTS, WORTH)
def test_every_row_has_its_turn_within_as_many_batches_as_there_are_rows(
    wants: list[Want], worth: tuple[int, ...]
) -> None:
    """Whoever was served asks again at once, behind all others."""
    waiting, asked = {want.row: want for want in wants}, len(wants)
    steps: Counter[int] = Counter()
    for _ in range(5 * len(wants)):
        batch = plan(list(waiting.values()), shapes=lambda group: worth)
        for row in batch.rows:
            asked += 1
            want = waiting[row]
            waiting[row] = replace(want, since=asked)
            steps[row] += 1
    assert min(steps[row] for row in waiting) >= 5


def test_five_rows_run_as_four_and_one_and_the_one_left_heads_the_next() -> None:
    wants = [Want(row, "a", "standard", row) for row in range(5)]
    assert plan(wants, shapes=all_shapes) == Batch((0, 1, 2, 3), 4, (0, 1, 2, 3))
    again = [wants[4], *(Want(row, "a", "standard", 5 + row) for row in range(4))]
    assert plan(again, shapes=all_shapes) == Batch((4, 0, 1, 2), 4, (0, 1, 2, 3))


def test_a_pinned_row_is_padded_to_its_shape_and_shares_it_with_those_pinned_alike() -> None:
    wants = [Want(0, "a", "standard", 0, 4), Want(1, "a", "standard", 1), Want(2, "a", "standard", 2, 4)]
    assert plan(wants, shapes=all_shapes) == Batch((0, 2), 4, (0, 1))
    assert plan([Want(0, "a", "standard", 0, 1), Want(1, "a", "standard", 1, 1)], shapes=all_shapes) == Batch(
        (0,), 1, (0,)
    )


def test_a_row_that_is_told_its_place_has_it_or_waits_and_the_others_take_what_is_left() -> None:
    def batch(*places: int | None) -> Batch:
        wants = [Want(row, "a", "standard", row, 4, place) for row, place in enumerate(places)]
        return plan(wants, shapes=all_shapes)

    assert batch(2) == Batch((0,), 4, (2,))
    assert batch(2, None, 2, 0, 1, 3) == Batch((0, 1, 4, 5), 4, (2, 0, 1, 3))
    assert batch(9, None) == Batch((0, 1), 4, (0, 1)), "there is no such place"


def test_dedicated_work_that_is_owed_time_steps_alone_and_other_lanes_share() -> None:
    wants = [
        Want(0, "a", "bulk", 0),
        Want(1, "a", "bulk", 1),
        Want(2, "a", "dedicated", 2),
        Want(3, "a", "standard", 3),
    ]
    assert plan(wants, shapes=all_shapes, owed="dedicated") == Batch((2,), 1, (0,))
    assert plan(wants, shapes=all_shapes, owed="standard") == Batch((3, 0, 1, 2), 4, (0, 1, 2, 3))
    assert plan(wants, shapes=all_shapes) == Batch((0, 1, 2, 3), 4, (0, 1, 2, 3))


def test_a_lane_is_owed_time_until_it_had_its_share_of_the_last_minute() -> None:
    usage = Usage(SHARES)
    both = [Want(0, "a", "bulk", 0), Want(1, "a", "dedicated", 1)]
    assert usage.owed(both, now=0.0) == "dedicated"
    usage.note(["dedicated"], 36.0, now=36.0)
    assert usage.owed(both, now=36.0) == "bulk"
    usage.note(["bulk", "bulk"], 6.0, now=42.0)
    assert usage.owed(both, now=42.0) is None
    assert usage.owed(both, now=97.0) == "dedicated", "what was used a minute ago counts no longer"


def measured(**seconds: float) -> Pace:
    pace = Pace()
    for shape, value in seconds.items():
        for _ in range(ENOUGH):
            pace.note(int(shape[1:]), value)
    return pace


def test_shapes_are_tried_from_the_smallest_up_and_used_where_they_were_faster() -> None:
    assert Pace().shapes() == (1,)
    assert measured(s1=1.0).shapes() == (1, 2)
    assert measured(s1=1.0, s2=1.5).shapes() == (1, 2, 4)
    assert measured(s1=1.0, s2=2.1).shapes() == (1, 4), "two were no faster than one after another; four may be"
    assert measured(s1=1.0, s2=2.1, s4=4.2, s8=8.4).shapes() == (1,)
    assert measured(s1=1.0, s2=1.5, s4=2.0, s8=5.0).shapes() == (1, 2, 4)


def test_one_slow_measurement_forbids_no_shape() -> None:
    pace = measured(s1=1.0, s2=1.5, s4=2.0)
    for seconds in (9.0, 3.0, 9.0):
        pace.note(8, seconds)
    assert pace.shapes() == SHAPES


def test_without_memory_for_eight_there_are_batches_of_four_at_most() -> None:
    paces = Paces()
    for place, shape in enumerate(SHAPES):
        for _ in range(ENOUGH):
            paces.of("a").note(shape, 1.0 + place / 2)
    paces.cap("a", 8)
    assert paces.shapes("a") == [1, 2, 4]
    paces.cap("a", 1)
    assert paces.shapes("a") == [1]
    paces.uncap()
    assert paces.shapes("a") == list(SHAPES)


def test_no_more_paces_are_kept_than_groups_that_stepped_lately() -> None:
    paces = Paces()
    stepping, ended = paces.of("stepping"), paces.of("ended")
    for group in range(REMEMBERED):
        paces.of(group)
        assert paces.of("stepping") is stepping
    assert paces.of("ended") is not ended
