"""Random numbers of many seeds at once: row i has what `tf.random` draws from seed i.

`tf.random` takes one seed a call, which costs more than cropping a small image. Here
the generator behind it, Philox 4x32-10, runs on all rows together, bit for bit.

Reference:
    - [Salmon et al., 2011](https://doi.org/10.1145/2063384.2063405), section 3.3.
"""

import functools

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
    """Returns the ints below `end` of `tf.image.stateless_random_crop`, (num, n)."""
    largest = tf.constant(tf.int32.max, tf.uint64)
    return tf.cast(_words(seeds, num) % largest, tf.int32) % end


def _words(seeds, num):
    """The first words, of 32 bits, that each seed gives: (num, n) uint64."""
    seeds = tf.bitcast(tf.transpose(tf.cast(seeds, tf.int64)), tf.uint64)
    return _function(-(-num // 4))(seeds)[:num]


@functools.cache  # Some 200 operations, which are traced once, in eager runs too.
def _function(num_blocks):
    """`_words_of` for so many blocks, compiled."""
    words = functools.partial(_words_of, num_blocks=num_blocks)
    words = tf.function(words, autograph=False)
    return words.get_concrete_function(tf.TensorSpec([2, None], tf.uint64))


def _words_of(seeds, num_blocks):
    """Words in blocks of four, (4 * num_blocks, n), from the two halves of seeds."""
    low = seeds & _scalar(_WORD)
    high = tf.bitwise.right_shift(seeds, _scalar(32))
    key, last = tf.unstack(_philox(low, high, _column(_FIRST_KEY)))
    # Block i counts from the words i, 0 and the last two: all blocks at once.
    last += tf.zeros([num_blocks, 1, 1], tf.uint64)
    first = tf.zeros_like(last[:, 0])
    numbers = first + tf.cast(tf.range(num_blocks), tf.uint64)[:, None]
    even, odd = tf.stack([numbers, last[:, 0]]), tf.stack([first, last[:, 1]])
    words = _philox(even, odd, key[:, None])
    return tf.reshape(tf.transpose(words, [2, 0, 1, 3]), [4 * num_blocks, -1])


def _philox(even, odd, key):
    """Ten rounds from a counter's words 0 and 2, and 1 and 3: [i, j] is word 2i + j."""
    word, half = _scalar(_WORD), _scalar(32)
    multipliers, key_steps = _column(_MULTIPLIERS), _column(_KEY_STEPS)
    if even.shape.rank == 3:
        multipliers, key_steps = multipliers[:, None], key_steps[:, None]
    for _ in range(10):
        products = tf.reverse(even * multipliers, [0])
        even = tf.bitwise.right_shift(products, half) ^ odd ^ key
        odd = products & word
        key = (key + key_steps) & word
    return tf.stack([even, odd], axis=1)


def _scalar(word):
    return tf.constant(word, tf.uint64)


def _column(words):
    return tf.constant(words, tf.uint64, (2, 1))
