"""What automatic checks of ours are called, in rubrics, verdicts, pages and measures.

Checks may come from outside too: a name that does not stand here may be right, and `calotype library lint` only asks.
A name is part of the contract: one is never renamed or given another meaning.
"""

# Measured, and wrong too often to stop a picture or refuse one (docs/checks.md).
ADVISORY = frozenset({"clipping"})
CHECK_NAMES = frozenset(
    {
        "badge",
        "blur",
        "bytes",
        "clipping",
        "cut-out",
        "dimensions",
        "entropy",
        "fidelity",
        "format",
        "label",
        "logo",
        "mark",
        "metadata",
        "moderation",
        "moderation-model",
        "naming",
        "noise",
        "palette",
        "profile",
        "provenance",
        "text",
        "twin",
        "upscale",
        "watermark",
    }
)
