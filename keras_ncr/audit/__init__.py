"""Which labels are wrong: `keras_ncr.audit(model, data)` returns the list."""

from keras_ncr.audit.auditing import audit, audit_predictions
from keras_ncr.audit.wrong_labels import find_wrong_labels

__all__ = ["audit", "audit_predictions", "find_wrong_labels"]
