"""The same set with libvips, as its documentation advises: `thumbnail` from the file for each size.

python vips_set.py OUT SETS SET.json ORIGINAL…  →  {"seconds": …}, in an environment of its own. VIPS_CONCURRENCY says
how many threads it may use.
"""

import json
import sys
import time
from pathlib import Path

import pyvips


def make(original: Path, wanted: list[dict], out: Path) -> None:
    for each in wanted:
        if each["fit"] == "as-it-is":
            image = pyvips.Image.new_from_file(str(original), access="sequential")
        else:
            crop = {"crop": "centre"} if each["fit"] == "cover" else {"size": "down"}
            image = pyvips.Image.thumbnail(str(original), each["width"], height=each["height"], **crop)
        quality = {} if each["format"] == "png" else {"Q": each["quality"]}
        options = {**quality, **each.get("vips", {})}
        image.write_to_file(str(out / f"{original.stem}-{each['name']}.{each['format']}"), **options)


def main() -> None:
    out, sets, described, *originals = sys.argv[1:]
    wanted = json.loads(Path(described).read_text())
    pyvips.cache_set_max(0)  # each set is another picture's: nothing is to be remembered from the last
    make(Path(originals[0]), wanted, Path(out))  # warm
    begun = time.perf_counter()
    for number in range(int(sets)):
        make(Path(originals[number % len(originals)]), wanted, Path(out))
    print(json.dumps({"seconds": time.perf_counter() - begun}))


if __name__ == "__main__":
    main()
