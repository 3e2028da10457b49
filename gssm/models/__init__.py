"""Members, ensemble and bundles of models."""
