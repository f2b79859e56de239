"""`python -m services.catalog`."""

from services.catalog.app import build
from services.catalog.settings import CatalogSettings
from shared.service import main

main("catalog", CatalogSettings, build)
