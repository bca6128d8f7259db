"""The experiments of the AAA paper: train, attack, and compare with its tables."""
