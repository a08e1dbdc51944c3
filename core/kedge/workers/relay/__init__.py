"""Passing requests on: from whoever asks to an instance, or to a node of another location."""
