"""`kedge demo --placement`: a visitor in Sydney, data in Frankfurt, and a worker between them."""
