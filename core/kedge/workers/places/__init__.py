"""Several locations: how far everything is from each, and which of them a request runs in."""
