"""The share of labels that differ however sure a model is of an example.

The less sure a model is of its class, the more it errs; of the examples it is surest of
it errs on next to none. Wrong labels differ from what it prefers there as well. With r
the rank of an example among those of its preferred class, from 0 (the surest) to 1,
Phi the normal distribution and e, a and b to be found:

    P(label differs) = e + (1 - e) Phi(a + b Phi^-1(r)),    b > 0

The second part is the error of a classifier whose scores are normally distributed; it
falls to 0 at the surest. What is left there is e, the plateau: 0 where a model's own
errors explain all that differs, the share of wrong labels where these do not depend on
the model.
"""

import numpy as np

# No more than half is looked for: more looks like classes that the model mixes up.
_LEVELS = np.arange(21) / 40
_OFFSETS = np.linspace(-4, 2.5, 66)
_SLOPES = np.geomspace(0.05, 4, 40)
# Upper ends of groups of ranks: what happens among the surest counts most.
_ENDS = np.geomspace(0.01, 1, 25)
_SMALLEST = 1e-9
# Levels are about as likely whose log-likelihoods differ by less.
_ALIKE = 0.2


def plateau(differs, preferred, gaps):
    """Returns the plateau e; of levels about as likely as each other, the highest.

    Args:
        differs: Bool array of shape `(n,)`: whether the label is not the preferred
            class.
        preferred: Int array of shape `(n,)`: the classes that predictions prefer.
        gaps: Float array of shape `(n,)`: how sure each prediction is.

    Returns:
        Float from 0 to 0.5.

    Example:
    A tenth of the labels differ, however sure the model is; then those of unsure
    examples alone.

    >>> from keras_ncr.audit.plateau import plateau
    >>> ones, gaps = np.ones(1000, int), np.linspace(5, 0, 1000)
    >>> plateau(np.arange(1000) % 10 == 3, ones, gaps)
    0.1
    >>> plateau(np.random.default_rng(0).random(1000) > gaps / 5, ones, gaps) < 0.05
    True
    """
    from scipy.special import ndtr, ndtri

    ranks = _ranks(preferred, gaps)
    groups = np.searchsorted(_ENDS[:-1], ranks, side="left")
    sizes = np.bincount(groups, minlength=len(_ENDS))
    found = sizes > 0
    sizes, differing, sums = (
        np.bincount(groups, weights, len(_ENDS))[found]
        for weights in (None, differs, ranks)
    )
    scores = _OFFSETS[:, None, None] + _SLOPES[:, None] * ndtri(sums / sizes)
    own = np.clip(ndtr(scores), _SMALLEST, 1 - _SMALLEST).reshape(-1, len(sizes))
    agreeing = sizes - differing
    of_agreeing = np.log1p(-own) @ agreeing
    likelihoods = np.array(
        [
            (np.log(level + (1 - level) * own) @ differing + of_agreeing).max()
            + np.log1p(-level) * agreeing.sum()
            for level in _LEVELS
        ]
    )
    return float(_LEVELS[likelihoods > likelihoods.max() - _ALIKE].max())


def _ranks(preferred, gaps):
    """Returns ranks among the examples of each class, ties in the middle."""
    import pandas as pd

    by_class = pd.Series(-gaps).groupby(preferred)
    ranks = (by_class.rank(method="average") - 0.5) / by_class.transform("size")
    return ranks.to_numpy()
