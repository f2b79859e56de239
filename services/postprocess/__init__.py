"""Stage 4 of 6: turns a generated image into every file its channels ask for, checked and named.

ImageGenerated → ImageProcessed (one asset version) | JobFailed | JobCancelled. The original is decoded once, in a child
process; every file is stored before the event that names it.
"""
