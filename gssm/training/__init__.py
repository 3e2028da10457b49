"""Samples, training, cross-validation and evaluation."""
