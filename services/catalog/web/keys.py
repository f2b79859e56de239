"""Every key the pages answer to, as the `?` overlay prints them. A browser test presses each one."""

Line = tuple[tuple[str, ...], str]

KEYS: tuple[tuple[str, tuple[Line, ...]], ...] = (
    (
        "In Review",
        (
            (("←", "→"), "one picture back, on"),
            (("↑", "↓"), "one set back, on"),
            (("h", "j", "k", "l"), "the same, under the fingers"),
            (("↵",), "approve, next"),
            (("X",), "reject: then the digit of the code, next"),
            (("digit",), "tick that line of the rubric"),
            (("Z",), "undo"),
            (("Space",), "hold: one to one"),
            (("B",), "surround grey, black, white"),
            (("I",), "inspector"),
        ),
    ),
    (
        "In Jobs, on the sheet",
        (
            (("←", "→", "↑", "↓"), "walk the squares"),
            (("↵",), "open that job"),
        ),
    ),
    (
        "In two versions of a recipe",
        ((("\\",), "one in the other's place"),),
    ),
    (
        "Everywhere",
        (
            (("?",), "these keys"),
            (("Esc",), "close"),
        ),
    ),
)
