"""What is deployed, and the gateway that serves it."""
