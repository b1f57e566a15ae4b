"""What a model says to a loss that is compiled although it has one of its own."""


def refuse_loss(loss, loss_weights, model, own_loss):
    """Raises if `compile` was given a loss.

    Args:
        loss: As in `compile`.
        loss_weights: As in `compile`.
        model: String. The model's name, for the message.
        own_loss: String: what the model trains on.

    Raises:
        ValueError: If `loss` or `loss_weights` is not `None`.

    Example:
    >>> from keras_ncr.models.own_loss import refuse_loss
    >>> refuse_loss(None, None, "GJSModel", "the Jensen-Shannon divergence")
    """
    for name, value in [("loss", loss), ("loss_weights", loss_weights)]:
        if value is not None:
            raise ValueError(
                f"`{name}` must be left out: {model} trains on {own_loss}. Received: "
                f"{name}={value!r}. For a loss of your own use keras_ncr.NCRModel."
            )
