"""The colors of all pictures."""

# Blue and orange that stay apart for the color-blind (Okabe and Ito, 2008).
CLEAN_COLOR, NOISY_COLOR = "#0072B2", "#D55E00"
METHOD_COLORS = ("#666666", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
