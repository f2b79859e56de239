"""How far two pictures are from each other, in a sentence: the terminal and the pages say the same."""


def apart(*, psnr: float | None, largest: int, differing: float) -> str:
    """`psnr` in dB, None where every pixel is the same; `largest` of 255; `differing`: the part of the pixels."""
    if psnr is None:
        return "every pixel is the same, the file is not"
    return f"{100 * differing:.2f} % of the pixels differ, by {largest} of 255 at most, {psnr:.1f} dB"
