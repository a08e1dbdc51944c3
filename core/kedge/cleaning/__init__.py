"""What nothing needs any more: found, shown, and cleared away."""
