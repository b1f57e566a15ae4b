"""Networks from texts and from columns of a table to features, preprocessing inside."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from keras_ncr.backbones import blocks
from keras_ncr.checks import check_integer

# Words of a column with more different ones than this share numbers by their hash.
_MOST_WORDS = 500
# Rows that a layer is adapted to at a time; texts whose words are counted at a time.
_AT_ONCE, _TEXTS_AT_ONCE = 4096, 512


def bag_of_words(
    texts, max_tokens: int = 20_000, ngrams: int = 2, hidden: tuple = (256,)
) -> keras.Model:
    """Returns a network that knows which words, and pairs of them, a text has.

    `keras.layers.TextVectorization`, adapted to the texts, turns a text into ones and
    zeros, which are scaled to length 1; dense layers with batch normalization and ReLU
    follow. The vocabulary is part of the network and is saved with it.

    Args:
        texts: Strings of shape `(n,)`, as an array or a tensor: those of training.
        max_tokens: Int, at least 2: the most frequent words and sequences of words that
            are kept. Defaults to 20,000, as in Keras' guides.
        ngrams: Int, at least 1: the longest sequence of words that counts as one.
            Defaults to 2.
        hidden: Tuple of ints, the units of each layer; the last is the number of
            features. Defaults to `(256,)`, our choice.

    Returns:
        A `keras.Model` from strings `(batch,)` to features `(batch, hidden[-1])`.

    Raises:
        ValueError: If an argument is out of its range, or no text has a word.

    Example:
    >>> texts = tf.constant(["well done", "badly done"])
    >>> backbone = keras_ncr.backbones.bag_of_words(texts, hidden=(8,))
    >>> backbone(tf.constant(["well, well"])).shape
    TensorShape([1, 8])
    """
    blocks.check_widths("hidden", hidden)
    inputs, x = _words(texts, max_tokens, ngrams)
    return keras.Model(inputs, blocks.hidden_layers(x, hidden), name="bag_of_words")


def latent_semantics(
    texts, dim: int = 256, max_tokens: int = 20_000, ngrams: int = 2
) -> keras.Model:
    """Returns a network whose features are the main directions of the texts' words.

    Latent semantic analysis: words as in `bag_of_words`, weighted by their inverse
    document frequency, are brought to the largest singular vectors of all texts. No
    labels are needed, and nothing is trained: texts with like words are neighbors.

    Args:
        texts: As in `bag_of_words`.
        dim: Int, at least 1: most features. Defaults to 256.
        max_tokens: As in `bag_of_words`.
        ngrams: As in `bag_of_words`.

    Returns:
        A `keras.Model` from strings `(batch,)` to features `(batch, dim)`, or fewer if
        the texts or their words are fewer.

    Raises:
        ValueError: As `bag_of_words`.

    Reference:
        - [Deerwester et al.,
        1990](https://doi.org/10.1002/(SICI)1097-4571(199009)41:6<391::AID-ASI1>3.0.CO;2-9)

    Example:
    >>> texts = tf.constant(["well done", "badly done", "too bad"])
    >>> network = keras_ncr.backbones.latent_semantics(texts, dim=2)
    >>> network(tf.constant(["well, well"])).shape
    TensorShape([1, 2])
    """
    check_integer(dim, "dim", minimum=1)
    inputs, x = _words(texts, max_tokens, ngrams)
    directions = _directions(keras.Model(inputs, x), texts, dim)
    start = keras.initializers.Constant(0)  # No random numbers are drawn.
    project = layers.Dense(
        directions.shape[1], use_bias=False, kernel_initializer=start, name="directions"
    )
    network = keras.Model(inputs, project(x), name="latent_semantics")
    project.set_weights([directions])
    return network


def _words(texts, max_tokens, ngrams):
    """Returns an input of texts, and their words as vectors of length 1."""
    check_integer(max_tokens, "max_tokens", minimum=2)
    check_integer(ngrams, "ngrams", minimum=1)
    settings = {"ngrams": ngrams, "output_mode": "multi_hot", "name": "words"}
    adapted = layers.TextVectorization(max_tokens, **settings)
    with tf.device("CPU:0"):
        adapted.adapt(tf.data.Dataset.from_tensor_slices(texts).batch(_AT_ONCE))
    vocabulary = adapted.get_vocabulary(include_special_tokens=False)
    if not vocabulary:
        raise ValueError(
            f"`texts` must have words. Received: {len(texts)} texts without any."
        )
    # An adapted one is saved with a word on each line, and words may have line breaks.
    words = layers.TextVectorization(vocabulary=vocabulary, **settings)
    inputs = keras.Input((), dtype="string", name="text")
    x = keras.ops.cast(words(inputs), "float32")
    return inputs, layers.UnitNormalization(name="words_unit")(x)


def _directions(words, texts, dim):
    """Returns what brings words to the directions in which texts differ most."""
    from scipy.sparse import csr_matrix, vstack
    from sklearn.decomposition import TruncatedSVD

    batches = tf.data.Dataset.from_tensor_slices(texts).batch(_TEXTS_AT_ONCE)
    found = vstack([csr_matrix(words(batch).numpy()) for batch in batches])
    num_texts, num_words = found.shape
    weights = np.log((1 + num_texts) / (1 + found.getnnz(axis=0))) + 1
    svd = TruncatedSVD(min(dim, num_texts, num_words), random_state=0)
    svd.fit(found.multiply(weights).tocsr())
    return (weights[:, None] * svd.components_.T).astype("float32")


def column_mlp(columns: dict, hidden: tuple = (256, 256)) -> keras.Model:
    """Returns a network of dense layers on the columns of a table.

    `keras.utils.FeatureSpace`, adapted to the columns, brings numbers to mean 0 and
    variance 1, and gives each word of a column a place of its own; words of a column of
    more than 500, or with line breaks, share 500 places by their hash. Dense layers
    with batch normalization and ReLU follow. The preprocessing is part of the network
    and is saved with it.

    Args:
        columns: Dict from names to arrays or tensors `(n,)`, float or string: those of
            training.
        hidden: Tuple of ints, the units of each layer; the last is the number of
            features. Defaults to `(256, 256)`, our choice.

    Returns:
        A `keras.Model` from a dict of `(batch,)` or `(batch, 1)` by the same names to
        features `(batch, hidden[-1])`.

    Raises:
        ValueError: If there is no column, or `hidden` is out of its range.

    Example:
    >>> columns = {"age": np.array([31.0, 7.0]), "town": np.array(["Bonn", "Prague"])}
    >>> backbone = keras_ncr.backbones.column_mlp(columns, hidden=(8,))
    >>> backbone({"age": tf.constant([5.0]), "town": tf.constant(["Bonn"])}).shape
    TensorShape([1, 8])
    """
    blocks.check_widths("hidden", hidden)
    inputs, x = _encoded(columns)
    return keras.Model(inputs, blocks.hidden_layers(x, hidden), name="column_mlp")


def encoded_columns(columns: dict) -> keras.Model:
    """Returns a network from the columns of a table to numbers: what `column_mlp` sees.

    No labels are needed, and nothing is trained.

    Args:
        columns: As in `column_mlp`.

    Returns:
        A `keras.Model` from a dict of `(batch,)` or `(batch, 1)` by the same names to
        features `(batch, dim)`.

    Raises:
        ValueError: If there is no column.

    Example:
    >>> columns = {"age": np.array([31.0, 7.0]), "town": np.array(["Bonn", "Prague"])}
    >>> network = keras_ncr.backbones.encoded_columns(columns)
    >>> network({"age": tf.constant([5.0]), "town": tf.constant(["Bonn"])}).shape
    TensorShape([1, 5])
    """
    inputs, x = _encoded(columns)
    return keras.Model(inputs, x, name="encoded_columns")


def _encoded(columns):
    """Returns the inputs of a table's columns, and all of them as numbers."""
    if not columns:
        raise ValueError("`columns` must have at least one column. Received: none.")
    columns = {name: np.asarray(column) for name, column in columns.items()}
    space = keras.utils.FeatureSpace(
        {name: _feature_of(column) for name, column in columns.items()}
    )
    with tf.device("CPU:0"):
        tensors = {name: tf.constant(column) for name, column in columns.items()}
        space.adapt(tf.data.Dataset.from_tensor_slices(tensors).batch(_AT_ONCE))
    return dict(space.get_inputs()), space.get_encoded_features()


def _feature_of(column):
    """Returns how a column of a table is encoded."""
    space = keras.utils.FeatureSpace
    if column.dtype.kind in "biuf":
        return space.float_normalized()
    words = np.unique(column)
    words = {word.decode() if isinstance(word, bytes) else str(word) for word in words}
    # A saved vocabulary has a word on each line, and none that is empty.
    has_lines = any(len(word.splitlines()) > 1 for word in words)
    if len(words) > _MOST_WORDS or has_lines:
        return space.string_hashed(_MOST_WORDS)
    return space.feature("string", layers.StringLookup(mask_token=""), "one_hot")
