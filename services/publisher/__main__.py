"""`python -m services.publisher`."""

from services.publisher.app import build
from services.publisher.settings import PublisherSettings
from shared.service import main

main("publisher", PublisherSettings, build)
