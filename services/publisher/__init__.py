"""Stage 6 of 6: delivers each approved asset version to each target once, and keeps the receipt.

AssetApproved → one publication per target → AssetPublished | PublicationFailed. A publication is looked up before it is
written, read back after, and settled with the hash of what was read; killed between any two steps, it is still
delivered once.
"""
