"""Text encoders of KerasHub as backbones, from raw texts to features."""

import keras
from keras import ops

from keras_ncr.backbones.pretrained import (
    HUB,
    encoder_of_hub,
    keras_hub_or_raise,
    reason_of,
)
from keras_ncr.checks import check_integer


def text_encoder(preset: str, sequence_length: int = 256) -> keras.Model:
    """Returns a text encoder of KerasHub, from raw texts to averaged features.

    Tokenizing is inside. The features are the mean of those of a text's tokens, as in
    Sentence-BERT. The encoder does not train, unless its `trainable` is set.

    Args:
        preset: String: the name of a preset of KerasHub, such as `"bert_small_en"`, or
            the path of its folder.
        sequence_length: Int, at least 2: texts are cut to so many tokens, or
            to those that the encoder takes at most. Defaults to 256, our choice.

    Returns:
        `keras.Model` from strings `(batch,)` to features `(batch, dim)`.

    Raises:
        ValueError: If KerasHub is not installed, there is no such preset, or it is none
            for texts.

    Reference:
        - [Reimers and Gurevych, 2019](https://arxiv.org/abs/1908.10084), for the mean.

    Example:
    >>> keras_ncr.backbones.text_encoder("./gone")
    Traceback (most recent call last):
    ValueError: The KerasHub preset './gone' could not be had: ...
    """
    check_integer(sequence_length, "sequence_length", minimum=2)
    keras_hub = keras_hub_or_raise()
    encoder = encoder_of_hub(preset)
    most = getattr(encoder, "max_sequence_length", None) or sequence_length
    sequence_length = min(sequence_length, most)
    try:
        preprocessor = keras_hub.models.TextClassifierPreprocessor.from_preset(
            preset, sequence_length=sequence_length
        )
    except Exception as error:  # Whatever a preset without texts leads to.
        raise ValueError(
            f"`backbone` must be a preset for texts. Received: {HUB}{preset}, a "
            f"{type(encoder).__name__} without a tokenizer for texts: "
            f"{reason_of(error)}"
        ) from error
    inputs = keras.Input((), dtype="string", name="text")
    features = TokenMeans(preprocessor, encoder, name="hub")(inputs)
    network = keras.Model(inputs, features, name="text_encoder")
    network.trainable = False
    return network


@keras.saving.register_keras_serializable(package="keras_ncr")
class TokenMeans(keras.layers.Layer):
    """The mean of what an encoder makes of a text's tokens."""

    # A layer: a tokenizer has no vocabulary before a saved model is loaded as a whole.

    def __init__(self, preprocessor, encoder, **kwargs):
        super().__init__(**kwargs)
        self.preprocessor, self.encoder = preprocessor, encoder
        self.built = True

    def call(self, inputs, training=None):
        tokens = self.preprocessor(inputs)
        features = _sequence(self.encoder(tokens, training=training))
        mask = ops.cast(tokens["padding_mask"], "float32")[..., None]
        total = ops.sum(ops.cast(features, "float32") * mask, axis=1)
        return total / ops.maximum(ops.sum(mask, axis=1), 1.0)

    def compute_output_spec(self, inputs, training=None):
        dim = _sequence(self.encoder.output).shape[-1]
        return keras.KerasTensor((*inputs.shape, dim), dtype="float32")

    def get_config(self):
        return {
            **super().get_config(),
            "preprocessor": keras.saving.serialize_keras_object(self.preprocessor),
            "encoder": keras.saving.serialize_keras_object(self.encoder),
        }

    @classmethod
    def from_config(cls, config):
        parts = {
            name: keras.saving.deserialize_keras_object(config[name])
            for name in ("preprocessor", "encoder")
        }
        return cls(**{**config, **parts})


def _sequence(outputs):
    """Returns the features of all tokens, whatever else an encoder returns."""
    return outputs["sequence_output"] if isinstance(outputs, dict) else outputs
