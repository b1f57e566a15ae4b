"""Which labels are wrong: `keras_ncr.audit(model, data)` returns the list."""

from keras_ncr.audit.auditing import audit, audit_predictions

__all__ = ["audit", "audit_predictions"]
