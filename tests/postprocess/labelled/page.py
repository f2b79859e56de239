"""docs/checks.md, written from the figures."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from services.postprocess.checks.examine import pixel_checks
from services.postprocess.checks.published import GOOD_ENOUGH
from tests.postprocess.labelled.photographs import LIST

PAGE = Path(__file__).resolve().parents[3] / "docs/checks.md"

# By check: what it measures, after whom, and what its pictures are.
ABOUT = {
    "entropy": (
        "Bits of what stands out from the ground, in the part of picture or product saying second most; blank has few",
        "Shannon 1948",
        "flat colours, gradients, pictures melted to clouds of colour",
    ),
    "noise": (
        "How much a pixel tells of the next, fine or coarse, in the places least like noise; noise tells nothing",
        "autocorrelation",
        "static, blots of latents that were never denoised, pictures half under either",
    ),
    "blur": (
        "How little a further blur takes from the product's strongest edges, across, down or aslant",
        "Crété et al. 2007",
        "Gaussian, defocus and shake, their point spread's standard deviation 1.5 to 4 px of 384, or 2 to 5.3 of 512",
    ),
    "clipping": (
        "Share of the picture that is burnt out white or filled in black; a white or black ground is left out",
        "–",
        "brightened or darkened until 5 to 30 % is white or black",
    ),
    "palette": (
        "Mean CIEDE2000 of eight colours around the product to the brand's as lit, less half of that to its own four",
        "Sharma et al. 2005",
        "a brand colour's wall, or a photograph beside its own five colours, turned in hue by 25° to 60°, by ΔE00 ≥ 8",
    ),
    "twin": (
        "How alike two fingerprints are: 256 DCT signs of picture and product, 16 Lab colours",
        "Zauner 2010",
        "pairs, written as JPEG 50 to 90, smaller by up to 60 %, shifted by 2 %, ± 5 % in brightness, or all of it",
    ),
    "label": (
        "Cross-correlation of print with the approved photo's, of the two fifths of the windows that agree least",
        "Lowe 2004, Lewis 1995",
        "another product's label, or a third of its letters others; the product is the same",
    ),
    "fidelity": (
        "Mean CIEDE2000 of the product's six bands to the approved photo's; other proportions count too",
        "Sharma et al. 2005",
        "another form, or another colour of the same form",
    ),
    "text": (
        "The box of the ink that is drawn, against the safe area",
        "–",
        "headlines in Latin, Arabic and Japanese that stand 1 to 40 px over an edge of the safe area",
    ),
    "dimensions": ("The size of a written file against what was asked", "–", "1 to 11 px fewer"),
}

TEMPLATE = Path(__file__).parent / "page.md"


Figures = Mapping[str, Mapping[str, Any]]


def page(checks: Figures, photographs: Figures) -> str:
    told = {name: checks[name] for name in ABOUT if name in checks}
    return TEMPLATE.read_text().format(
        aim=f"{100 * GOOD_ENOUGH:.0f} %",
        rows="\n".join(_row(name, found, photographs.get(name)) for name, found in told.items()),
        faults="\n".join(f"- `{name}`: {ABOUT[name][2]}" for name in told),
        wrong="\n".join(_wrong(name, found, photographs.get(name)) for name, found in told.items()),
        photographs=max((found["photographs"] for found in photographs.values()), default=0),
        packages=_packages(),
    )


def _row(name: str, proofs: Mapping[str, Any], photographs: Mapping[str, Any] | None) -> str:
    measures, source, _ = ABOUT[name]
    least = min(min(found["precision"], found["recall"]) for found in (proofs, photographs) if found)
    cells = (
        f"`{name}`",
        measures,
        source,
        _limit(name, proofs["limit"]),
        *_columns(proofs),
        *(_columns(photographs) if photographs else ["–"] * 4),
        "advises" if least < GOOD_ENOUGH else "decides",
    )
    return f"| {' | '.join(cells)} |"


def _columns(found: Mapping[str, Any]) -> list[str]:
    shares = [f"{100 * found[figure]:.1f} %" for figure in ("precision", "recall", "alarms")]
    return [f"{found['good']} / {found['faulty']}", *shares]


def _packages() -> str:
    """Of the list, each with its version, by where it is had."""
    named = [line.removeprefix("# ") for line in LIST.read_text().splitlines()[1:] if line.startswith("# ")]
    return "\n".join(f"- `{each}`" for each in named)


def _limit(name: str, limit: float | None) -> str:
    if limit is None:
        return "as asked"
    least = pixel_checks()[name].least if name in pixel_checks() else False
    return f"{'≥' if least else '<' if name == 'twin' else '≤'} {limit:g}"


def _wrong(name: str, proofs: Mapping[str, Any], photographs: Mapping[str, Any] | None) -> str:
    return f"- `{name}`: {_kinds(proofs)}" + (f"; of photographs {_kinds(photographs)}" if photographs else "")


def _kinds(found: Mapping[str, Any]) -> str:
    return ", ".join(f"{count} × {kind.replace('_', ' ')}" for kind, count in found["wrong"].items()) or "nothing"
