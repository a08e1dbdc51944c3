"""Logs of builds and workers: written by one node, read by anybody, live and later by the same cursor."""
