"""The invisible mark of a picture: what it says, where it lies, and how it is read without the original. Pure.

Spread spectrum (Cox, Kilian, Leighton, Shamoon 1997, "Secure spread spectrum watermarking for multimedia"): each of 64
bits is the sign of a sum over hundreds of mid-band DCT coefficients of the luma, whatever the picture's size, at 512².
Which coefficients and with which signs only the key says. `services/postprocess/marking.py` writes it.

How often a picture that carries no mark is read as marked: for any coefficients, signs drawn by the key make the score
of one word a sum of independent ±1 with unit variance, so it passes t with at most exp(-t²/2) (Hoeffding 1963). There
are 2⁴⁸ words that agree with their CRC, so the chance that any of them passes LEAST = 10.5 is below 2⁴⁸ · exp(-55.1) =
3.3e-10, whatever the picture, as long as nobody made it with the key at hand.
"""

import binascii
import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Self
from uuid import UUID

import cv2
import numpy as np
from numpy.typing import NDArray

from shared.mark_keys import KEY_BYTES

Floats = NDArray[np.float32]
Pixels = NDArray[np.uint8]

SIDE = 512
BITS, CRC_BITS = 64, 16
# Radii in DCT indices. Below, the eye is keenest and pictures are strongest; above, half size and JPEG leave little.
BAND = (80, 220)
# Straight lines along the sides of a picture gather near the axes: those coefficients are left out.
AXIS = 6
LEAST = 10.5
# Bits read with the least certainty are tried both ways, the likeliest words first (Chase 1972). So few, because each
# that is held against the CRC of a mark too damaged to be read agrees by chance once in 65,536: 16 in 4,096 pictures.
DOUBTED, TRIED = 8, 16


@dataclass(frozen=True, slots=True)
class Mark:
    """What was read: the first 48 bits of an asset's id as people see them, and how surely (≥ LEAST)."""

    asset: str
    score: float


@dataclass(frozen=True, slots=True)
class Carriers:
    """Per bit: its coefficients as flat indices into the DCT, their signs, and what the reader weighs them by."""

    at: NDArray[np.intp]
    signs: Floats
    weights: Floats

    @classmethod
    def of(cls, key: bytes) -> Self:
        """Raises ValueError for a key that is not 32 bytes."""
        if len(key) != KEY_BYTES:
            raise ValueError(f"a mark key has {KEY_BYTES} bytes, not {len(key)}")
        down, across = np.mgrid[0:SIDE, 0:SIDE]
        radius = np.hypot(down, across).ravel()
        inside = (radius >= BAND[0]) & (radius < BAND[1]) & (np.minimum(down, across).ravel() >= AXIS)
        band = np.flatnonzero(inside)
        drawn = np.frombuffer(hashlib.shake_256(b"calotype mark" + key).digest(8 * len(band)), "<u8")
        order = np.argsort(drawn >> 1, kind="stable")[: len(band) // BITS * BITS].reshape(BITS, -1)
        # Pictures weaken as 1/f: so weighted, no part of the band drowns the others.
        weights = radius[band] / radius[band].mean()
        signs = np.where(drawn[order] & 1, 1, -1)
        return cls(band[order], signs.astype(np.float32), weights[order].astype(np.float32))

    def sums(self, luma: Floats) -> tuple[Floats, float]:
        """What each bit gathers, and the size by which a picture without a mark scatters it."""
        found = cv2.dct(luma).ravel()[self.at] * self.weights
        scatter = float(np.sqrt(np.square(found).sum() / BITS))
        return np.asarray((found * self.signs).sum(axis=1)), scatter


@lru_cache(maxsize=4)
def carriers(key: bytes) -> Carriers:
    """Drawn once for each key that a process uses; raises ValueError as `Carriers.of`."""
    return Carriers.of(key)


def word(asset: UUID) -> Floats:
    """The 64 bits as ±1: the id's first 48, then their CRC-16 (CCITT)."""
    data = asset.bytes[: (BITS - CRC_BITS) // 8]
    bits = np.unpackbits(np.frombuffer(data + _crc(data), np.uint8))
    return np.where(bits, 1, -1).astype(np.float32)


def luma(pixels: Pixels) -> Floats:
    """Brightness at SIDE², where marks lie, of RGB or RGBA; see-through pixels are laid on white."""
    grey = cv2.cvtColor(pixels[:, :, :3], cv2.COLOR_RGB2GRAY)
    if pixels.shape[2] == 4:
        alpha = pixels[:, :, 3]
        grey = cv2.add(cv2.multiply(grey, alpha, scale=1 / 255), cv2.bitwise_not(alpha))
    if min(grey.shape) >= SIDE:
        sized = cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    else:
        sized = cv2.resize(grey.astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    return np.asarray(sized.astype(np.float32))


def opened(data: bytes) -> Floats:
    """What `luma` found, on its way through a pipe."""
    return np.frombuffer(data, np.float32).reshape(SIDE, SIDE)


def read(brightness: Floats, key: bytes) -> Mark | None:
    """The mark that this key left in a picture of this `luma`, or None. Raises ValueError as `Carriers.of`."""
    sums, scatter = carriers(key).sums(brightness)
    if scatter < 1e-3:
        return None
    return _decoded(sums / scatter)


def _decoded(sums: Floats) -> Mark | None:
    """The likeliest word among the few that are held against their CRC."""
    bits, certainty = sums > 0, np.abs(sums)
    rest = np.array([_syndrome(bits)])
    cost = np.zeros(1, np.float32)
    doubted = np.argsort(certainty)[:DOUBTED]
    for bit in doubted:
        rest = np.concatenate([rest, rest ^ _turned()[bit]])
        cost = np.concatenate([cost, cost + certainty[bit]])
    likeliest = np.argsort(cost, kind="stable")[:TRIED]
    agreeing = likeliest[rest[likeliest] == 0]
    if not len(agreeing):
        return None
    best = int(agreeing[0])
    score = float(certainty.sum() - 2 * cost[best]) / BITS**0.5
    if not score >= LEAST:
        return None
    bits[doubted] ^= (best >> np.arange(DOUBTED) & 1).astype(bool)
    digits = np.packbits(bits).tobytes()[: (BITS - CRC_BITS) // 8].hex()
    return Mark(f"{digits[:8]}-{digits[8:]}", round(score, 1))


def _syndrome(bits: NDArray[np.bool_]) -> int:
    """Zero where the last 16 bits are the CRC of the first 48."""
    packed = np.packbits(bits).tobytes()
    data, told = packed[: -CRC_BITS // 8], packed[-CRC_BITS // 8 :]
    return int.from_bytes(_crc(data), "big") ^ int.from_bytes(told, "big")


@lru_cache(maxsize=1)
def _turned() -> NDArray[np.int64]:
    """What turning each bit does to the syndrome: a CRC is linear but for its start."""
    none = _syndrome(np.zeros(BITS, np.bool_))
    return np.array([_syndrome(np.eye(BITS, dtype=np.bool_)[bit]) ^ none for bit in range(BITS)])


def _crc(data: bytes) -> bytes:
    return binascii.crc_hqx(data, 0xFFFF).to_bytes(CRC_BITS // 8, "big")
