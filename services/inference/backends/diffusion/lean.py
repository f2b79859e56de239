"""Imported before diffusers: what it would load for nothing, wherever it happens to be installed.

diffusers imports onnxruntime with the first pipeline, for a kind of pipeline that is not run here; that would come out
of what a capped process may take for images.
"""

import sys

sys.modules["onnxruntime"] = None  # type: ignore[assignment]  # to an import, and to whoever looks, it is not there
