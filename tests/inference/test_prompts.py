"""Prompts are encoded once for all images that ask the same, and remembered within a limit."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from services.inference.backends.diffusion.prompts import Prompts

Encoded = npt.NDArray[np.float32]


class Encoder:
    """Gives 400 bytes for any prompt, and counts."""

    def __init__(self, *, seconds: float = 0.0) -> None:
        self.asked: list[str] = []
        self._seconds = seconds

    def __call__(self, prompt: str, **more: Any) -> tuple[Encoded, None]:
        self.asked.append(prompt)
        time.sleep(self._seconds)  # as an encoder does, it lets others run meanwhile
        return np.full(100, len(self.asked), dtype=np.float32), None


def test_the_same_prompt_is_encoded_once_and_another_way_to_ask_is_another() -> None:
    encoder = Encoder()
    encode = Prompts().remembering(encoder)
    first = encode("a mug", negative_prompt="blurred", images=1)
    assert encode("a mug", images=1, negative_prompt="blurred") is first
    assert encode("a mug", negative_prompt="", images=1) is not first
    assert encoder.asked == ["a mug", "a mug"]


def test_what_was_used_last_stays_within_the_limit() -> None:
    encoder = Encoder()
    encode = Prompts(limit=800).remembering(encoder)
    for prompt in ("a", "b", "a", "c", "a", "b"):
        encode(prompt)
    assert encoder.asked == ["a", "b", "c", "b"], "b was used less lately than a when c came"


def test_one_that_is_larger_than_the_limit_is_remembered_alone() -> None:
    encoder = Encoder()
    encode = Prompts(limit=100).remembering(encoder)
    assert encode("a") is encode("a")
    encode("b")
    assert encode("b") is encode("b") and encoder.asked == ["a", "b"]


def test_variants_that_come_together_are_encoded_once_and_counted_once() -> None:
    encoder = Encoder(seconds=0.02)
    encode = Prompts(limit=1200).remembering(encoder)
    ready = threading.Barrier(8)

    def variant(prompt: str) -> Encoded:
        ready.wait(timeout=10)
        made: Encoded = encode(prompt)[0]
        return made

    with ThreadPoolExecutor(8) as threads:
        for prompt in ("a", "b"):
            made = list(threads.map(variant, [prompt] * 8))
            assert all(each is made[0] for each in made)
    for prompt in ("c", "a", "b", "c"):
        encode(prompt)
    assert encoder.asked == ["a", "b", "c"], "three fit, and the limit counts each once"
