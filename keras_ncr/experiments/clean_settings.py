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
    """How wrong labels are looked for: the flags of `keras-ncr clean`."""

    # None is what suits the data, the first of: a name of `backbones.pretrained` for
    # pictures; "latent_semantics" or "hub:PRESET" for texts; "encoded_columns" for
    # rows; "features" for features that are given.
    backbone: str | None = None
    finetune: bool = False  # Whether folds train the whole network, as of "scratch".
    network_epochs: int | None = None  # None: 10, of "scratch" 30.
    image_size: int = 224
    num_folds: int = 5
    num_draws: int | None = None  # A network that is itself trained has one.
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
