"""`python -m services.prompt`."""

from services.prompt.app import build
from services.prompt.settings import PromptSettings
from shared.service import main

main("prompt", PromptSettings, build, database=False)
