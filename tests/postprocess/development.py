"""What a child hands back, without a child."""

from typing import Any

from services.postprocess.development import Development, Made


def made(rendition: str = "960", *, channel: str | None = "web", data: bytes = b"bytes", **fields: Any) -> Made:
    told: dict[str, Any] = {
        "media_type": "image/webp",
        "width": 960,
        "height": 600,
        "wanted_type": "image/webp",
        "wanted": (960, 600),
        "exact": True,
        "max_bytes": None,
        "manifest": {"operations": [], "format": "webp", "quality": 80},
    }
    return Made(channel=channel, rendition=rendition, data=data, **(told | fields))


def developed(*files: Made, **fields: Any) -> Development:
    told: dict[str, Any] = {"media_type": "image/png", "width": 64, "height": 64, "versions": {"pillow": "13.0.0"}}
    return Development(made=list(files), **(told | fields))
