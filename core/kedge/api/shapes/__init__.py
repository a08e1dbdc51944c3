"""What the API answers with: types that hold the code to the documented shapes, and become OpenAPI."""
