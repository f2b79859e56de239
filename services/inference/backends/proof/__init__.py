"""The proof renderer: draws a comp of a scene without any model, the same bytes for the same scene, seed and size.

`render` is pure; `backend` runs it in a child process. Importing this package imports neither numpy nor Pillow.
"""
