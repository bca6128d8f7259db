"""Compare speed and strength with other libraries, on the same weights and examples."""
