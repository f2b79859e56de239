"""Stage 5 of 6: keeps every fact, says where everything is, and lets people decide what goes out.

Every topic → ledger and projection; ReviewNeeded when an asset arrives; a person's decision → ReviewRecorded, and after
the undo window AssetApproved | AssetRejected; RequestCompleted when all of a request's jobs have ended. Whatever order
facts come in, and however often, the same ledger and the same projection result.
"""
