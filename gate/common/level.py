"""The range of significance levels."""

SMALLEST_ALPHA = 1e-12
"""Smallest level of a decision: below, 1 - alpha is too close to 1 for a float."""
