"""Tests of text_encoder.py: text encoders of KerasHub, by a small one on disk."""

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from keras_ncr.backbones import text_encoder
from keras_ncr.datasets import from_texts
from keras_ncr.experiments.clean_data import CleanData
from keras_ncr.experiments.clean_network import network_of
from keras_ncr.experiments.clean_settings import CleanSettings
from keras_ncr.features import extract

keras_hub = pytest.importorskip("keras_hub")
pytestmark = pytest.mark.usefixtures("eager_functions")
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "film", "a"]
TEXTS = ["a good film", "bad"]


@pytest.fixture
def preset(tmp_path):
    """A folder with a preset of a tiny BERT."""
    path = str(tmp_path / "preset")
    encoder = keras_hub.models.BertBackbone(
        vocabulary_size=9,
        num_layers=1,
        num_heads=2,
        hidden_dim=8,
        intermediate_dim=16,
        max_sequence_length=12,
    )
    encoder.save_to_preset(path)
    tokenizer = keras_hub.models.BertTokenizer(vocabulary=VOCABULARY)
    keras_hub.models.BertTextClassifierPreprocessor(tokenizer).save_to_preset(path)
    return path


def test_features_are_the_mean_of_the_tokens_and_are_saved(preset, tmp_path):
    network = text_encoder(preset, sequence_length=6)
    features = network(tf.constant(TEXTS)).numpy()
    encoder = keras_hub.models.Backbone.from_preset(preset)
    rows = [[2, 8, 5, 7, 3], [2, 6, 3]]  # Between [CLS] and [SEP].
    for row, found in zip(rows, features, strict=True):
        tokens = {
            "token_ids": np.array([row]),
            "segment_ids": np.zeros((1, len(row)), "int32"),
            "padding_mask": np.ones((1, len(row)), bool),
        }
        expected = encoder(tokens)["sequence_output"].numpy().mean(axis=1)[0]
        np.testing.assert_allclose(found, expected, atol=1e-5)
    assert not network.trainable_weights
    network.save(tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras")
    np.testing.assert_allclose(loaded(tf.constant(TEXTS)), features, atol=1e-5)


def test_clean_takes_its_features_of_texts(preset, tmp_path):
    source = from_texts(pd.DataFrame({"text": TEXTS, "label": ["+", "-"]}))
    settings = CleanSettings(backbone=f"hub:{preset}").completed(CleanData(source))
    network = network_of(source, settings, tmp_path)
    features = extract(network, source, tmp_path / "features", verbose=0)
    np.testing.assert_allclose(features, network(tf.constant(TEXTS)), atol=1e-5)


def test_preset_that_is_none_for_texts_is_named(preset, tmp_path):
    with pytest.raises(ValueError, match=r"preset './gone' could not be had"):
        text_encoder("./gone")
    for name in ("preprocessor.json", "tokenizer.json"):
        (tmp_path / "preset" / name).unlink()
    with pytest.raises(ValueError, match=r"preset for texts. Received: hub:.*BertB"):
        text_encoder(preset)
