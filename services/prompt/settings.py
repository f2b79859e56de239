"""The prompt stage's environment: the shared one; it has no database."""

from shared.settings import Settings


class PromptSettings(Settings):
    pass
