"""Names for people: what a file is called when somebody sees it in a folder, a DAM or an address.

campaign-sku-template-variant-asset-rendition.ext, lower case, ASCII letters, digits and hyphens only: the same on every
file system and in every URL, without quoting. Keys for machines are hashes and live elsewhere (`shared/blobs.py`).
"""

import hashlib
import re
import unicodedata
from functools import lru_cache
from uuid import UUID

from shared.events import Brief

# Four words of 40 and the rest stay under 255 bytes, the shortest limit of any file system in use.
WORD = 40
# Two requests of a campaign may share product, template and variant (another season, say): six digits of the asset's id
# keep their files apart where all of them land in one folder.
TAG = 6
NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*\.[a-z0-9]{3,4}")


def file_name(brief: Brief, *, asset_id: UUID, rendition: str, extension: str) -> str:
    """The name of one file of an asset; `rendition` is `channel-rendition`, or `original`."""
    words = [
        slug(brief.campaign or brief.asset_type),
        *([_products(brief.skus)] if brief.skus else []),
        slug(brief.template),
        f"v{brief.variant}",
        asset_id.hex[:TAG],
        slug(rendition),
    ]
    return f"{'-'.join(words)}.{extension}"


@lru_cache(4096)  # campaigns, products and templates come in the thousands of jobs
def slug(text: str) -> str:
    """Plain ASCII words. Text with no Latin letter or digit becomes its hash, which at least stays the same."""
    folded = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    words = re.sub(r"[^a-z0-9]+", "-", folded).strip("-")
    if not words:
        words = f"x{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    return words[:WORD].rstrip("-")


def _products(skus: list[str]) -> str:
    more = f"-and-{len(skus) - 1}" if len(skus) > 1 else ""
    return slug(skus[0]) + more
