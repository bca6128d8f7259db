"""Copies of models that compute the same, faster, and the precision to compute in."""
