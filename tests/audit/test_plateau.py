"""Tests of audit/plateau.py: what differs however sure a model is."""

import math

import numpy as np
import pytest
from scipy.special import ndtri

from keras_ncr.audit import plateau as module
from keras_ncr.audit.plateau import plateau

# Few values to look among: the oracle takes them one by one.
OFFSETS, SLOPES = np.linspace(-2, 0, 5), np.geomspace(0.3, 3, 5)


def case(seed, level, slope, num_examples=2000, num_classes=3):
    """Returns what differs, as the formula says, and how sure a model is."""
    rng = np.random.default_rng(seed)
    preferred = rng.integers(0, num_classes, num_examples)
    gaps = rng.exponential(size=num_examples)
    ranks = np.array(oracle_ranks(preferred, gaps))
    own = np.array([oracle_normal(x) for x in -0.5 + slope * ndtri(ranks)])
    differs = rng.uniform(size=num_examples) < level + (1 - level) * own
    return differs, preferred, gaps


def oracle_normal(x):
    return (1 + math.erf(x / 2**0.5)) / 2


def oracle_ranks(preferred, gaps):
    """Returns ranks by counting, ties in the middle."""
    ranks = []
    for c, gap in zip(preferred, gaps, strict=True):
        others = gaps[preferred == c]
        before = np.sum(others > gap) + (np.sum(others == gap) - 1) / 2
        ranks.append((before + 0.5) / len(others))
    return ranks


def oracle(differs, preferred, gaps):
    """Returns the highest of the levels that are about as likely, term by term."""
    ranks = oracle_ranks(preferred, gaps)
    ends = [0.01 * 100 ** (i / 24) for i in range(25)]
    groups = {}
    for rank, differ in zip(ranks, differs, strict=True):
        group = next(i for i, end in enumerate([*ends[:-1], 2]) if rank <= end)
        groups.setdefault(group, []).append((rank, differ))
    scores = [ndtri(np.mean([r for r, _ in rows])) for rows in groups.values()]
    counts = [(sum(d for _, d in rows), len(rows)) for rows in groups.values()]
    chances = []
    for level in range(21):
        best = -math.inf
        for offset in OFFSETS:
            for slope in SLOPES:
                chance = 0.0
                for score, (count, size) in zip(scores, counts, strict=True):
                    own = oracle_normal(offset + slope * score)
                    own = min(max(own, 1e-9), 1 - 1e-9)
                    p = level / 40 + (1 - level / 40) * own
                    chance += count * math.log(p) + (size - count) * math.log(1 - p)
                best = max(best, chance)
        chances.append(best)
    return max(i for i in range(21) if chances[i] > max(chances) - 0.2) / 40


@pytest.mark.parametrize("level", [0.0, 0.2])
def test_level_equals_the_formula(monkeypatch, level):
    monkeypatch.setattr(module, "_OFFSETS", OFFSETS)
    monkeypatch.setattr(module, "_SLOPES", SLOPES)
    differs, preferred, gaps = case(0, level, 1.0, num_examples=150)
    gaps = np.round(gaps, 1)  # Some tie.
    expected = oracle(differs, preferred, gaps)
    assert plateau(differs, preferred, gaps) == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("level", [0.0, 0.1, 0.3])
def test_level_that_was_drawn_is_found(seed, level):
    found = plateau(*case(seed, level, slope=1.0, num_examples=5000))
    assert found == pytest.approx(level, abs=0.08)


def test_neither_order_nor_scale_matters():
    differs, preferred, gaps = case(0, 0.1, 1.0)
    order = np.random.default_rng(0).permutation(len(gaps))
    level = plateau(differs, preferred, gaps)
    assert plateau(differs[order], preferred[order], gaps[order]) == level
    assert plateau(differs, preferred, np.exp(gaps)) == level


@pytest.mark.parametrize("num_examples", [1, 2, 20])
def test_where_nothing_can_be_told_nothing_is_ruled_out(num_examples):
    # Examples that are all as sure as each other have no surest ones.
    differs = np.arange(num_examples) % 2 == 1
    zeros = np.zeros(num_examples)
    assert 0 <= plateau(differs, zeros.astype(int), zeros) <= 0.5
    assert plateau(np.ones(20, bool), zeros[:1].repeat(20), np.zeros(20)) == 0.5
