"""Stage 1 of 6: takes requests in, from Kafka, HTTP, CSV and JSONL alike, and answers each one.

ImageRequested → RequestAccepted | RequestRejected. One validation for every way in; a request is answered only after
its row and its event are committed, its id is derived from what the sender calls it, so sending twice makes nothing
twice, and its quota is reserved here and settled by what the later stages report.
"""
