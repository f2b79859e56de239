"""The product's three typefaces, Latin, as woff2: the pages serve the files that the proof renderer sets labels in.

Instrument Sans (variable weight), Instrument Serif and IBM Plex Mono, each under the SIL Open Font License beside it.
"""

from pathlib import Path

FOLDER = Path(__file__).parent

SANS = FOLDER / "instrument-sans.woff2"
SERIF = FOLDER / "instrument-serif.woff2"
SERIF_ITALIC = FOLDER / "instrument-serif-italic.woff2"
MONO = FOLDER / "ibm-plex-mono.woff2"
