"""Many trainings side by side: what `keras_ncr.compare` and `.sweep` are made of."""
