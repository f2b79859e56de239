"""The pictures that the small model learns from, and the words that they show."""

import random

from services.inference.backends.diffusion.drawing import COLOURS, SHAPES, WORDS, Asked, asked_for, draw, picture, seen


def test_colour_and_shape_are_read_back_from_a_drawing() -> None:
    drawn = [(asked_for(place), picture(place)) for place in range(16)]
    assert [seen(pixels) for _, pixels in drawn] == [(asked.colour, asked.shape) for asked, _ in drawn]
    assert {asked.colour for asked, _ in drawn} > set(list(COLOURS)[:4])
    assert {asked.shape for asked, _ in drawn} == set(SHAPES)


def test_nothing_coloured_is_no_shape_and_no_colour() -> None:
    grey = picture(0)
    grey[...] = 128
    assert seen(grey) == (None, None)


def test_a_drawing_is_the_same_for_the_same_number_and_another_for_another() -> None:
    assert (picture(1) == picture(1)).all()
    asked = Asked(colour="red", shape="mug", material="matte", background="sand", light="left")
    here, there = (draw(asked, random.Random(number)) for number in range(2))
    assert (here != there).any()


def test_every_word_of_a_prompt_is_known() -> None:
    prompts = [asked_for(place).prompt for place in range(40)]
    assert {word for prompt in prompts for word in prompt.replace(",", " ,").split()} <= set(WORDS)
