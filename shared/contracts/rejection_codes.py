"""Why a picture is refused: one list for pages, API, events and measures. Nine at most, a digit each on the keyboard.

A code is part of the contract: downstream systems count by it, so one is never renamed or given another meaning.
"""

REJECTION_CODES: dict[str, str] = {
    "off_palette": "off palette",
    "not_selected": "another variant was picked",
    "wrong_product": "wrong product",
    "label_wrong": "label wrong or illegible",
    "soft": "soft or out of focus",
    "bad_crop": "bad crop",
    "off_brief": "not what was asked",
    "artefact": "artefact of the model",
    "other": "another reason",
}
