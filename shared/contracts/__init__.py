"""The contract with the outside: JSON Schemas, a golden example per event, AsyncAPI, and what stays compatible.

`python -m shared.contracts` writes `schemas/`, `golden/` and `asyncapi.json` from the code; a test fails when what is
committed differs. `released/<version>/` is what a release promised, and is never rewritten.
"""
