"""What is kept, and the one way to it."""
