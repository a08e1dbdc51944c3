"""What workers ask of others: let out through one door, and measured there."""
