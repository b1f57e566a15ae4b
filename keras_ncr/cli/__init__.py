"""The commands: one file for each, and nothing but flags and wiring."""
