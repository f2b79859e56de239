"""`python -m services.intake`."""

from services.intake.app import build
from services.intake.settings import IntakeSettings
from shared.service import main

main("intake", IntakeSettings, build)
