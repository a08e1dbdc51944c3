"""A small server of HTTP/1.1: strict in what it takes, and open to answers that need no task of their own."""
