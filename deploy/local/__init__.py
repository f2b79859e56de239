"""One machine: PostgreSQL, Kafka, the six services and the one address in front of them, as child processes.

Everything lives under one data folder. No service imports anything from here: each finds what it needs in its
environment.
"""
