from services.inference.app import STAGE, build
from services.inference.settings import InferenceSettings
from shared.service import main

if __name__ == "__main__":
    main(STAGE, InferenceSettings, build)
