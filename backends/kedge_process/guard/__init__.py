"""What runs in the helper processes. Standard library only: they start without site packages.

`server` forks, `supervisor` guards one runner, `runner` becomes it. Modules here import each other
relatively, because the helpers know this package by the name `guard` alone.
"""
