"""A build's life, from the push that queues it to the sealed log."""
