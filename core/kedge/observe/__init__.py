"""What Kedge writes about itself."""
