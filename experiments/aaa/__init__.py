"""The experiments of the AAA paper: what is trained, attacked and compared with its tables."""
