"""What every attack is made of: compiled graphs, the gradient loop, norms."""
