"""The methods that the paper compares with, and their joins with NCR, as models."""

from keras_ncr.methods.co_divide import CoDivide
from keras_ncr.methods.co_teaching import CoTeachingModel
from keras_ncr.methods.divide_mix import DivideMixModel
from keras_ncr.methods.early_learning import EarlyLearningRegularization, ELRModel
from keras_ncr.methods.elr_plus import ELRPlusModel
from keras_ncr.methods.example_memory import ExampleMemory
from keras_ncr.methods.gjs import GJSModel
from keras_ncr.methods.network_pair import NetworkPair
from keras_ncr.methods.sop import SOPModel

__all__ = [
    "CoDivide",
    "CoTeachingModel",
    "DivideMixModel",
    "ELRModel",
    "ELRPlusModel",
    "EarlyLearningRegularization",
    "ExampleMemory",
    "GJSModel",
    "NetworkPair",
    "SOPModel",
]
