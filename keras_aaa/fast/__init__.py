"""Faster copies of models, and the choice of the precision to compute in."""
