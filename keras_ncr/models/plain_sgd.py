"""SGD as the authors' code has it: a velocity of gradients, without learning rates."""

import keras


@keras.saving.register_keras_serializable(package="keras_ncr")
class PlainSGD(keras.optimizers.SGD):
    """SGD with momentum and weight decay in the form of papers and of PyTorch.

    A step with gradient g is

        velocity = momentum * velocity + g + weight_decay * weight
        weight = weight - learning_rate * velocity

    Keras' own SGD has the learning rate inside, `velocity = momentum * velocity -
    learning_rate * g`: the same as long as the rate stays, but under warm-up and decay
    older gradients keep the rates of their steps. And its weight decay passes the
    velocity by, so that in the long run it is weaker by `1 - momentum`.

    Args:
        learning_rate: Float, or a schedule of `keras.optimizers.schedules`. Defaults to
            0.01, Keras' default.
        momentum: Float in [0, 1). Defaults to 0.0.
        nesterov: Bool. Whether a step is along `momentum * velocity + g`, decay in g
            included. Defaults to `False`.
        weight_decay: Float, at least 0, or `None`; in the papers' meaning.
            `exclude_from_weight_decay` says which weights do not decay. Defaults to
            `None`.
        **kwargs: As in `keras.optimizers.SGD`.

    Reference:
        - [Sutskever et al., 2013](https://proceedings.mlr.press/v28/sutskever13.html),
          of which PyTorch's documentation of SGD states this form.

    Example:
    >>> optimizer = keras_ncr.models.PlainSGD(learning_rate=0.1, momentum=0.9)
    >>> weight = keras.Variable([1.0])
    >>> optimizer.apply([np.array([1.0], "float32")], [weight])
    >>> optimizer.learning_rate = 0.01
    >>> optimizer.apply([np.array([0.0], "float32")], [weight])
    >>> weight.numpy()
    array([0.891], dtype=float32)
    """

    def __init__(
        self,
        learning_rate=0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float | None = None,
        **kwargs,
    ):
        super().__init__(learning_rate, momentum, nesterov, weight_decay, **kwargs)

    def update_step(self, gradient, variable, learning_rate):
        """As in `keras.optimizers.SGD`, in the form above."""
        step = keras.ops.cast(gradient, variable.dtype)
        if self.weight_decay and self._use_weight_decay(variable):
            step += keras.ops.cast(self.weight_decay, variable.dtype) * variable
        if self.momentum:
            momentum = keras.ops.cast(self.momentum, variable.dtype)
            kept = self.momentums[self._get_variable_index(variable)]
            velocity = momentum * kept + step
            self.assign(kept, velocity)
            step = momentum * velocity + step if self.nesterov else velocity
        rate = keras.ops.cast(learning_rate, variable.dtype)
        self.assign_sub(variable, rate * step)

    def _apply_weight_decay(self, variables):
        """Does nothing: `update_step` has it in the gradient."""
