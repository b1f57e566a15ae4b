"""Classifiers that do not memorize wrong labels: NCR, its peers, and NCR with each."""

from keras_ncr.models.auto_weight import AutoWeight
from keras_ncr.models.clean_net import CleanNet
from keras_ncr.models.clean_net_model import CleanNetModel, LabelVerification
from keras_ncr.models.clean_set import CleanSetDetection
from keras_ncr.models.co_divide import CoDivide
from keras_ncr.models.co_teaching import CoTeachingModel
from keras_ncr.models.curriculum import CurriculumModel, DensityCurriculum
from keras_ncr.models.divide_mix import DivideMixModel
from keras_ncr.models.elr import EarlyLearningRegularization, ELRModel
from keras_ncr.models.elr_plus import ELRPlusModel
from keras_ncr.models.example_memory import ExampleMemory
from keras_ncr.models.gjs import GJSModel
from keras_ncr.models.l_dmi import LDMIModel
from keras_ncr.models.longremix import LongReMixModel
from keras_ncr.models.metrics import MemorizationMonitor, MemorizationRate
from keras_ncr.models.mile import MILeModel
from keras_ncr.models.mlnt import MLNTModel
from keras_ncr.models.moit import MOITModel
from keras_ncr.models.mopro import MoProModel
from keras_ncr.models.ncr import NCRModel
from keras_ncr.models.ncr_classifier import NCRClassifier
from keras_ncr.models.network_pair import NetworkPair
from keras_ncr.models.outlier_rejection import OutlierRejection
from keras_ncr.models.plain_sgd import PlainSGD
from keras_ncr.models.sgn import SGNModel
from keras_ncr.models.sop import SOPModel
from keras_ncr.models.ssr import SampleSelection, SSRModel
from keras_ncr.models.warmup import ConsistencyWarmup

__all__ = [
    "AutoWeight",
    "CleanNet",
    "CleanNetModel",
    "CleanSetDetection",
    "CoDivide",
    "CoTeachingModel",
    "ConsistencyWarmup",
    "CurriculumModel",
    "DensityCurriculum",
    "DivideMixModel",
    "ELRModel",
    "ELRPlusModel",
    "EarlyLearningRegularization",
    "ExampleMemory",
    "GJSModel",
    "LDMIModel",
    "LabelVerification",
    "MLNTModel",
    "LongReMixModel",
    "MILeModel",
    "MOITModel",
    "MemorizationMonitor",
    "MemorizationRate",
    "MoProModel",
    "NCRClassifier",
    "NCRModel",
    "NetworkPair",
    "OutlierRejection",
    "PlainSGD",
    "SGNModel",
    "SSRModel",
    "SampleSelection",
    "SOPModel",
]
