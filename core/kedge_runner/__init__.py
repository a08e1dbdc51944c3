"""The agent that does a build's work. Standard library only; imports nothing of Kedge.

It runs wherever builds run and starts before every one of them: what it imports is counted in milliseconds.
"""
