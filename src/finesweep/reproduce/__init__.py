"""Makes recorded runs again with a verdict, exports them, and compares them."""
