"""What all six stages share: events, topics, the bus, the outbox, leases, blobs and the frame of a service."""
