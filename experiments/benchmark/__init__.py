"""How fast, and how strong: ours beside the other libraries, on the same weights and examples."""
