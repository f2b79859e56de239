"""Prompts are encoded once for all images that ask the same, and remembered within a limit."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from services.inference.backends.diffusion.prompts import Prompts

Encoded = npt.NDArray[np.float32]
VARIANTS = 8


class Encoder:
    """Gives 400 bytes for any prompt, and counts."""

    def __init__(self, *, meanwhile: Callable[[], object] = lambda: None) -> None:
        self.asked: list[str] = []
        self._meanwhile = meanwhile

    def __call__(self, prompt: str, **more: Any) -> tuple[Encoded, None]:
        self.asked.append(prompt)
        self._meanwhile()
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


class Turnstile:
    """A lock that says who comes to it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._come = threading.Semaphore(0)

    def __enter__(self) -> None:
        self._come.release()
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def until_all_have_come(self) -> None:
        for _ in range(VARIANTS):
            assert self._come.acquire(timeout=10), "somebody did not find that the prompt is being encoded"


def test_variants_that_come_together_are_encoded_once_and_counted_once() -> None:
    turnstile = Turnstile()
    encoder, prompts = Encoder(meanwhile=turnstile.until_all_have_come), Prompts(limit=1200)
    prompts._encoding = turnstile  # type: ignore[assignment]  # whoever is kept waiting is seen there
    encode = prompts.remembering(encoder)

    def variant(prompt: str) -> Encoded:
        made: Encoded = encode(prompt)[0]
        return made

    with ThreadPoolExecutor(VARIANTS) as threads:
        for prompt in ("a", "b", "c"):
            made = list(threads.map(variant, [prompt] * VARIANTS))
            assert all(each is made[0] for each in made)
    for prompt in ("a", "b", "c"):
        encode(prompt)
    assert encoder.asked == ["a", "b", "c"], "three fit, and the limit counts each once"
