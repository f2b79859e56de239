"""Fonts that overlays are set in, each whole and under the SIL Open Font License beside it.

As TTF, for HarfBuzz reads no woff2: IBM Plex Sans Arabic is its foundry's woff2, unpacked.
"""

from pathlib import Path

FOLDER = Path(__file__).parent
