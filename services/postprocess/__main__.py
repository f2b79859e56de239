"""`python -m services.postprocess`."""

from services.postprocess.app import STAGE, build
from services.postprocess.settings import PostprocessSettings
from shared.service import main

main(STAGE, PostprocessSettings, build)
