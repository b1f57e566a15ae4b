"""How `keras-ncr clean` looks for wrong labels: its settings."""

import dataclasses

from keras_ncr.backbones.pretrained import HUB, SCRATCH
from keras_ncr.experiments.clean_data import CleanData

# The networks by the kind of inputs; features are given.
_DEFAULTS = {
    "images": "EfficientNetV2B0",
    "text": "latent_semantics",
    "columns": "encoded_columns",
    "features": "features",
}
GIVEN = _DEFAULTS["features"]


@dataclasses.dataclass(frozen=True)
class CleanSettings:
    """How wrong labels are looked for.

    Args:
        backbone: String, as `name` in `keras_ncr.backbones.pretrained`, for pictures;
            `"latent_semantics"` or `"hub:PRESET"` for texts; `"encoded_columns"` for
            rows; `"features"` for features that are given. Defaults to `None`: the
            first of these for the data, `"EfficientNetV2B0"` for pictures.
        finetune: Bool: whether each fold trains the whole network, and not a head on
            its features. `"scratch"` is always trained. Defaults to `False`.
        epochs: Optional int: epochs of a network that is trained. Defaults to 10, of
            `"scratch"` 30.
        image_size: Int, at least 32: pictures are brought to squares of so many pixels.
            Defaults to 224, as networks of ImageNet expect.
        num_folds: As in `keras_ncr.find_wrong_labels`.
        num_draws: As in `keras_ncr.find_wrong_labels`, for heads; not with a
            network that is itself trained, which has one draw.
        threshold: As in `keras_ncr.audit`.
        num_neighbors: As in `keras_ncr.audit`.
        batch_size: As in `keras_ncr.features.extract`.
        dtype: As in `keras_ncr.features.extract`.
        seed: Int, at least 0. Defaults to 0.

    Example:
    >>> from keras_ncr.experiments.clean_settings import CleanSettings
    >>> CleanSettings().num_folds
    5
    """

    backbone: str | None = None
    finetune: bool = False
    epochs: int | None = None
    image_size: int = 224
    num_folds: int = 5
    num_draws: int | None = None
    threshold: float = 0.5
    num_neighbors: int = 10
    batch_size: int = 64
    dtype: str = "float32"
    seed: int = 0

    def completed(self, data: CleanData) -> "CleanSettings":
        """Returns the settings for some data, with a backbone that suits them."""
        kind = data.source.kind
        backbone = self.backbone or _DEFAULTS[kind]
        made = set(_DEFAULTS.values()) - {_DEFAULTS["images"]}
        fits = {"images": backbone not in made, "text": backbone.startswith(HUB)}
        if backbone != _DEFAULTS[kind] and not fits.get(kind, False):
            raise ValueError(
                "`backbone` must be 'features' for features, 'encoded_columns' for "
                "rows, 'latent_semantics' or hub:PRESET for texts, and a network for "
                f"pictures. Received: {backbone!r}, and {kind}. Leave it out."
            )
        if kind != "images" and self.finetune:
            raise ValueError(
                f"`finetune` is for networks on pictures. Received: True, and {kind}. "
                "Leave it out."
            )
        completed = dataclasses.replace(self, backbone=backbone)
        if completed.trains_network and self.num_draws is not None:
            raise ValueError(
                "`num_draws` is for a classifier on features; a network that is itself "
                f"trained has one draw. Received: {self.num_draws}. Leave it out."
            )
        return completed

    @property
    def trains_network(self) -> bool:
        """Whether the whole network is trained."""
        return self.finetune or self.backbone == SCRATCH
