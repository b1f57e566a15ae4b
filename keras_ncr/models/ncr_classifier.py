"""NCR as a scikit-learn estimator, on features."""

import keras
import numpy as np
import tensorflow as tf

from keras_ncr.models.head import HeadSettings, train_head


class NCRClassifier(keras.wrappers.SKLearnClassifier):
    """scikit-learn classifier on features, trained by NCR with ELR.

    It learns few of the wrong labels by heart. Everything that takes an estimator takes
    it: `cross_val_predict`, `Pipeline`, `GridSearchCV`, cleanlab's `CleanLearning`.
    Features are standardized inside. The same `seed` gives the same weights.

    Args:
        hidden_units: As in `keras_ncr.models.head.HeadSettings`.
        num_layers: As in `keras_ncr.models.head.HeadSettings`.
        epochs: As in `keras_ncr.models.head.HeadSettings`.
        batch_size: As in `keras_ncr.models.head.HeadSettings`.
        learning_rate: As in `keras_ncr.models.head.HeadSettings`.
        weight_decay: As in `keras_ncr.models.head.HeadSettings`.
        consistency_weight: As in `keras_ncr.models.head.HeadSettings`.
        elr_weight: As in `keras_ncr.models.head.HeadSettings`.
        scale: As in `keras_ncr.models.head.HeadSettings`.
        seed: As in `keras_ncr.models.head.HeadSettings`.
        verbose: As in `keras.Model.fit`. Defaults to 0.

    Attributes:
        model_: `ELRModel` from features to logits.
        classes_: Array of the labels, in the order of the logits.
        history_: What `keras.Model.fit` returned.

    Reference:
        - [Iscen et al., 2022](https://arxiv.org/abs/2202.02200)
        - [Liu et al., 2020](https://arxiv.org/abs/2007.00151)

    Example:
    >>> train, _ = keras_ncr.datasets.digits()
    >>> features, names = train.images.reshape(-1, 64), train.labels.astype(str)
    >>> classifier = keras_ncr.NCRClassifier(epochs=3).fit(features, names)
    >>> classifier.predict_proba(features).shape, classifier.predict(features).shape
    ((1437, 10), (1437,))
    """

    def __init__(
        self,
        hidden_units: int = 512,
        num_layers: int | None = None,
        epochs: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        weight_decay: float | None = None,
        consistency_weight: float | str | None = None,
        elr_weight: float | None = None,
        scale: str = "each",
        seed: int = 0,
        verbose=0,
    ):
        # scikit-learn copies an estimator by the names of these.
        self.hidden_units = hidden_units
        self.num_layers = num_layers
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.consistency_weight = consistency_weight
        self.elr_weight = elr_weight
        self.scale = scale
        self.seed = seed
        self.verbose = verbose

    def fit(self, X, y, sample_weight=None):
        """Trains on features and labels, and returns the estimator.

        Args:
            X: Floats of shape `(n, dim)`.
            y: Labels of shape `(n,)`: numbers or names.
            sample_weight: Optional floats of shape `(n,)`.

        Returns:
            The estimator.

        Raises:
            ValueError: If they are not so, or a setting is out of its range.
        """
        from sklearn.utils.validation import validate_data

        features, y = validate_data(self, X, y, dtype="numeric")
        one_hot = self._process_target(y, reset=True)
        settings = {
            name: value
            for name, value in self.get_params().items()
            if name != "verbose"
        }
        self.model_ = train_head(
            features,
            np.argmax(one_hot, axis=1),
            len(self.classes_),
            settings=HeadSettings(**settings),
            sample_weight=sample_weight,
            verbose=self.verbose,
        )
        self.history_ = self.model_.history
        return self

    def decision_function(self, X):
        """Returns the logits: floats of shape `(n, num_classes)`."""
        from sklearn.utils.validation import check_is_fitted, validate_data

        check_is_fitted(self, "model_")
        features = validate_data(self, X, reset=False, dtype="numeric")
        return self.model_.predict(features, verbose=self.verbose)

    def predict_proba(self, X):
        """Returns probabilities: float32 of shape `(n, num_classes)`."""
        return tf.nn.softmax(self.decision_function(X)).numpy()

    def predict(self, X):
        """Returns the label of each example, as `y` of `fit` has them."""
        return self.classes_[np.argmax(self.decision_function(X), axis=1)]

    def __sklearn_clone__(self):
        # Keras' own has no room for these settings.
        return type(self)(**self.get_params())

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.non_deterministic, tags.classifier_tags.poor_score = False, False
        return tags
