"""Stage 6 of 6: delivers each approved asset version to each target once, and keeps the receipt.

AssetApproved → one publication per target → AssetPublished | PublicationFailed. A publication is looked up before it is
written, read back after, and settled with the hash of what was read; or sent under one key until it is acknowledged.
Killed between any two steps, it is still delivered once; of which nobody knows, that is said. A target that is away
keeps no other waiting.
"""
