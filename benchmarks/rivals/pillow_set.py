"""A derivative set as one would write it with Pillow in an afternoon: open, resize, save. Runs in its own environment.

python pillow_set.py OUT SETS SET.json ORIGINAL…  →  {"seconds": …}: SETS times the whole set, originals in turn.
"""

import json
import sys
import time
from pathlib import Path

from PIL import Image, ImageOps


def make(original: Path, wanted: list[dict], out: Path) -> None:
    for each in wanted:
        with Image.open(original) as opened:
            image = opened.convert("RGB")
        size = (each["width"], each["height"])
        if each["fit"] == "inside":
            image.thumbnail(size, Image.Resampling.LANCZOS)
        elif each["fit"] == "cover":
            image = ImageOps.fit(image, size, Image.Resampling.LANCZOS)
        quality = {} if each["format"] == "png" else {"quality": each["quality"]}
        image.save(out / f"{original.stem}-{each['name']}.{each['format']}", each["format"].upper(), **quality)


def main() -> None:
    out, sets, described, *originals = sys.argv[1:]
    wanted = json.loads(Path(described).read_text())
    make(Path(originals[0]), wanted, Path(out))  # warm
    begun = time.perf_counter()
    for number in range(int(sets)):
        make(Path(originals[number % len(originals)]), wanted, Path(out))
    print(json.dumps({"seconds": time.perf_counter() - begun}))


if __name__ == "__main__":
    main()
