"""Where builds (and, later, requests) run."""
