"""The catalog's environment."""

from shared.settings import Settings


class CatalogSettings(Settings):
    """What every stage reads; the undo window is a workspace's own."""
