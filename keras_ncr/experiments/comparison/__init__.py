"""Many trainings side by side, as `compare` and `sweep` run them."""
