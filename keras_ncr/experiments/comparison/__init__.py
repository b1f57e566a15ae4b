"""Many trainings side by side: what `compare` and `sweep` run."""
