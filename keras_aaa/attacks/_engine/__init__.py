"""The parts of attacks: compiled graphs, argument checks, the gradient loop, restarts, rules."""
