"""A page on which people decide about suspicious labels, in any browser."""

from keras_ncr.review.folder import check_folder
from keras_ncr.review.writing import write_review

__all__ = ["check_folder", "write_review"]
