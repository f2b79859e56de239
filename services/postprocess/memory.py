"""When a child process has no memory left, whichever library says so."""

import cv2


def ran_out(error: Exception) -> bool:
    return isinstance(error, MemoryError) or (isinstance(error, cv2.error) and error.code == cv2.Error.StsNoMem)
