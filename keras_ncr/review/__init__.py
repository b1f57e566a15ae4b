"""What people decide about suspicious labels: the page, the corrections, the export."""

from keras_ncr.review.corrections import Corrections, dataset_hash, read_corrections
from keras_ncr.review.page_folder import check_folder
from keras_ncr.review.review_page import write_review

__all__ = [
    "Corrections",
    "check_folder",
    "dataset_hash",
    "read_corrections",
    "write_review",
]
