"""Random numbers of many seeds at once: row i has what `tf.random` draws from seed i.

`tf.random` takes one seed a call, which costs more than cropping a small image. Here
the generator behind it, Philox 4x32-10, runs on all rows together, bit for bit.

Reference:
    - [Salmon et al., 2011](https://doi.org/10.1145/2063384.2063405), section 3.3.
"""

import tensorflow as tf

_WORD = 2**32 - 1  # the lower half of 64 bits
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
_FIRST_KEY = (0x3EC8F720, 0x02461E29)  # with which TensorFlow mixes a seed


def fold_in(seed, numbers):
    """Returns `tf.random.fold_in(seed, number)` for each number: (n, 2)."""
    seed = tf.random.fold_in(seed, tf.zeros([], numbers.dtype))
    return tf.stack([tf.fill(tf.shape(numbers), seed[0]), numbers], axis=1)


def split(seeds, num):
    """Returns `tf.random.split(seed, num)` for each of the seeds: (num, n, 2)."""
    if seeds.dtype == tf.int32:
        words = tf.cast(_words(seeds, 2 * num), tf.uint32)
    else:
        halves = _words(seeds, 4 * num)
        words = halves[0::2] | tf.bitwise.left_shift(halves[1::2], _scalar(32))
    words = tf.reshape(tf.bitcast(words, seeds.dtype), [num, 2, -1])
    return tf.transpose(words, [0, 2, 1])


def uniform(seeds):
    """Returns `tf.random.stateless_uniform([], seed)` for each of the seeds: (n,)."""
    bits = tf.bitwise.bitwise_and(_words(seeds, 1)[0], _scalar(2**23 - 1))
    return tf.cast(bits, tf.float32) * 2.0**-23


def integers(seeds, num, end):
    """Returns `num` whole numbers below `end` for each seed: (num, n) int32.

    They are those of `tf.image.stateless_random_crop`.
    """
    largest = tf.constant(tf.int32.max, tf.uint64)
    return tf.cast(_words(seeds, num) % largest, tf.int32) % end


def _words(seeds, num):
    """The first words, of 32 bits, that each seed gives: (num, n) uint64."""
    seeds = tf.bitcast(tf.transpose(tf.cast(seeds, tf.int64)), tf.uint64)
    return _words_of(seeds[0], seeds[1], -(-num // 4))[:num]


@tf.function(reduce_retracing=True)  # some 300 operations, which are traced once
def _words_of(first, second, num_blocks):
    """Words in blocks of four, (4 * num_blocks, n), from the two halves of seeds."""
    seeds = (_low(first), _high(first), _low(second), _high(second))
    first_key = [_scalar(word) for word in _FIRST_KEY]
    *key, third, fourth = _philox(seeds, first_key)
    zeros = tf.zeros_like(third)
    blocks = [
        _philox((zeros + _scalar(block), zeros, third, fourth), key)
        for block in range(num_blocks)
    ]
    return tf.concat(blocks, axis=0)


def _philox(counter, key):
    """Ten rounds: from counters of four words to four random words, each (n,)."""
    a, b, c, d = counter
    for _ in range(10):
        left, right = (x * m for x, m in zip((a, c), _MULTIPLIERS, strict=True))
        a = tf.bitwise.bitwise_xor(tf.bitwise.bitwise_xor(_high(right), b), key[0])
        c = tf.bitwise.bitwise_xor(tf.bitwise.bitwise_xor(_high(left), d), key[1])
        b, d = _low(right), _low(left)
        key = [_low(k + step) for k, step in zip(key, _KEY_STEPS, strict=True)]
    return a, b, c, d


def _low(words):
    return tf.bitwise.bitwise_and(words, _scalar(_WORD))


def _high(words):
    return tf.bitwise.right_shift(words, _scalar(32))


def _scalar(word):
    return tf.constant(word, tf.uint64)
