"""A linear classifier on the unit sphere: it looks at directions, never at lengths."""

import math

import keras
from keras import layers, ops

from keras_ncr.checks import check_bool, check_integer, check_positive


@keras.saving.register_keras_serializable(package="keras_ncr")
class CosineClassifier(layers.Layer):
    """Returns scaled cosines between features and one weight vector per class.

    The paper uses it for WebVision and mini-WebVision, after MOIT. It computes in
    float32 whatever the global dtype policy, because squares of float16 features
    overflow from 256 on. A zero feature vector gets logits of 0 and a gradient of 0.

    A learnable scale is kept positive as the softplus of the trained variable. From 3
    on softplus is nearly the identity, so the scale learns at the pace of a plain
    variable there; an exponential would multiply its gradient by the scale itself. To
    spare it weight decay call
    `optimizer.exclude_from_weight_decay(var_names=["raw_scale"])`.

    Formula:

        logits_c = scale * <features, kernel_c> / (|features| |kernel_c|)

    Args:
        num_classes: Int, at least 2.
        scale: Positive float, the largest possible logit; the starting value if
            `learnable_scale`. The NCR paper names none; Gidaris and Komodakis start
            from 10. Defaults to 10.0.
        learnable_scale: Whether the scale is trained, as in Gidaris and Komodakis.
            Defaults to `True`.
        dtype: As in `keras.layers.Layer`. Defaults to `"float32"`.
        **kwargs: As in `keras.layers.Layer`.

    Call arguments:
        features: Float tensor of shape `(..., dim)`.

    Returns:
        Logits of shape `(..., num_classes)`, in [-scale, scale].

    Raises:
        ValueError: If `num_classes` or `scale` is out of its range.

    Reference:
        - [Iscen et al., 2022](https://arxiv.org/abs/2202.02200), Supplement A.
        - [Gidaris and Komodakis, 2018](https://arxiv.org/abs/1804.09458).

    Example:
    >>> classifier = keras_ncr.backbones.CosineClassifier(
    ...     2, scale=5.0, learnable_scale=False
    ... )
    >>> classifier.build((None, 2))
    >>> classifier.set_weights([np.eye(2)])
    >>> classifier(np.array([[30.0, 40.0]])).numpy().round(4)
    array([[3., 4.]], dtype=float32)
    """

    def __init__(
        self,
        num_classes: int,
        scale: float = 10.0,
        learnable_scale: bool = True,
        dtype="float32",
        **kwargs,
    ):
        super().__init__(dtype=dtype, **kwargs)
        self.num_classes = check_integer(num_classes, "num_classes", minimum=2)
        self.scale = check_positive(scale, "scale")
        self.learnable_scale = check_bool(learnable_scale, "learnable_scale")

    def build(self, input_shape):
        self.input_spec = layers.InputSpec(min_ndim=2, axes={-1: input_shape[-1]})
        self.kernel = self.add_weight(
            shape=(input_shape[-1], self.num_classes),
            initializer="glorot_uniform",
            name="kernel",
        )
        if self.learnable_scale:
            # The inverse of softplus, in a form that does not overflow.
            raw_scale = self.scale + math.log(-math.expm1(-self.scale))
            self.raw_scale = self.add_weight(
                shape=(),
                initializer=keras.initializers.Constant(raw_scale),
                name="raw_scale",
            )

    def call(self, features):
        scale = ops.softplus(self.raw_scale) if self.learnable_scale else self.scale
        cosines = ops.matmul(_unit(features, axis=-1), _unit(self.kernel, axis=0))
        return scale * cosines

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.num_classes)

    def get_config(self):
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "scale": self.scale,
            "learnable_scale": self.learnable_scale,
        }


def _unit(vectors, axis):
    """Vectors of length 1 along `axis`; a zero vector stays zero, with gradient 0."""
    squared_norm = ops.sum(ops.square(vectors), axis=axis, keepdims=True)
    # A floor under the norm would be finite too, but would multiply the gradient of a
    # zero vector by the floor's inverse, which overflows under float16 loss scaling.
    is_zero = squared_norm < 1e-12
    # The inner `where` keeps the infinite slope at 0 out of the gradient.
    inverse_norm = ops.rsqrt(ops.where(is_zero, 1.0, squared_norm))
    return vectors * ops.where(is_zero, 0.0, inverse_norm)
