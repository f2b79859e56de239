"""Stage 3 of 6: routes an assembled prompt to a backend, makes its image, and says exactly how.

PromptAssembled → ImageGenerated | JobFailed | JobCancelled (and JobProgressed meanwhile). A job's route is decided by
policy and fails closed; every attempt is a row with its cost; every image has a manifest it can be made again from.
"""
