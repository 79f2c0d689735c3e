"""The one list of ONNX node cases that do not run, each with its reason.

By element type, by operator, and by case.  An exclusion that excludes nothing fails
the tests, as does a case that neither runs nor is excluded.
"""

from __future__ import annotations

from typing import NamedTuple


class Exclusion(NamedTuple):
    """Cases of one operator whose name fits a pattern (as of :mod:`fnmatch`)."""

    operators: str
    cases: str
    reason: str


_3D = "three spatial axes: Lucid's layers take images"
_NEAREST = "another rule for the nearest pixel than PyTorch's floor(i * H / H')"
_SIZES = "coordinates from a given scale: Lucid's follow from the two sizes"
_RANDOM = "random numbers: nothing to compare with"
_CONSTANT = "lucid.pad fills with a constant"
_EMPTY = "the extremum of nothing is an error, as in NumPy"

#: Element types that tensors do not have, by the name that ONNX gives them.
TYPES = {
    "BFLOAT16": "16-bit brain floats: NumPy has no such type",
    "STRING": "strings",
    "FLOAT8E4M3FN": "8-bit floats",
    "FLOAT8E4M3FNUZ": "8-bit floats",
    "FLOAT8E5M2": "8-bit floats",
    "FLOAT8E5M2FNUZ": "8-bit floats",
    "FLOAT8E8M0": "8-bit floats",
    "FLOAT4E2M1": "4-bit floats",
    "INT2": "2-bit integers",
    "UINT2": "2-bit integers",
    "INT4": "4-bit integers",
    "UINT4": "4-bit integers",
    "SEQUENCE": "sequences of tensors",
    "OPTIONAL": "optional values",
}

#: What Lucid does not claim to have.  Operators separated by blanks.
OPERATORS = {
    "Attention FlexAttention LinearAttention CausalConvWithState RotaryEmbedding TensorScatter": (
        "attention and its caches"
    ),
    "GRU LSTM RNN": "recurrent layers",
    "If Loop Scan": "control flow",
    "SequenceMap SplitToSequence SequenceInsert OptionalHasElement OptionalGetElement": (
        "sequences of tensors and optional values"
    ),
    "QuantizeLinear DequantizeLinear DynamicQuantizeLinear QLinearConv QLinearMatMul "
    "ConvInteger MatMulInteger": "quantisation",
    "StringConcat StringNormalizer StringSplit RegexFullMatch TfIdfVectorizer": "strings",
    "LabelEncoder TreeEnsemble ArrayFeatureExtractor Binarizer": (
        "ONNX's classical machine learning (its own domain ai.onnx.ml)"
    ),
    "DFT STFT": "complex numbers",
    "BlackmanWindow HammingWindow HannWindow MelWeightMatrix": "windows and scales of signals",
    "ImageDecoder": "files of images",
    "Acos Acosh Asin Asinh Atan Atanh": "no inverse trigonometric or hyperbolic functions",
    "BitShift": "no shifts of bits",
    "BitCast": "no reading of bits as another type",
    "CumProd": "no running product",
    "GridSample AffineGrid": "no sampling on a grid",
    "DeformConv": "no deformable convolution",
    "Col2Im": "no overlapping columns as an operation of their own",
    "MaxUnpool": "no inverse of pooling",
    "LRN": "no local response normalisation",
    "Det": "no determinant",
    "ScatterND": "scatter_add takes indices along one axis",
    "Unique": "unique gives the sorted values only",
    "Bernoulli": _RANDOM,
    "Adagrad": "no Adagrad",
    "Adam": "adds epsilon to the uncorrected root; Lucid's Adam is PyTorch's",
    "Momentum": "begins with a velocity that is given; Lucid's SGD with its first gradient",
}

CASES = (
    Exclusion("Conv ConvTranspose MaxPool AveragePool LpPool", "*_3d*", _3D),
    Exclusion("AveragePool LpPool", "*_2d_dilations", "no dilation in means over windows"),
    Exclusion("MaxPool", "*_with_argmax_*", "max_pool2d does not give indices"),
    Exclusion("Dropout", "test_training_dropout_default*", _RANDOM),
    Exclusion("Dropout", "test_training_dropout", _RANDOM),
    Exclusion("Dropout", "test_training_dropout_mask", _RANDOM),
    Exclusion("Pad", "test_edge_pad", _CONSTANT),
    Exclusion("Pad", "test_reflect_pad", _CONSTANT),
    Exclusion("Pad", "test_wrap_pad", _CONSTANT),
    Exclusion("ReduceMax ReduceMin", "*_empty_set*", _EMPTY),
    Exclusion("Resize", "*_cubic*", "no bicubic resizing"),
    Exclusion("Resize", "*_linear_antialias", "no antialiasing (the image transforms have it)"),
    Exclusion("Resize", "*_tf_crop_and_resize*", "no resizing of a region"),
    Exclusion("Resize", "*_linear_half_pixel_symmetric", _SIZES),
    Exclusion("Resize", "*_downsample_scales_linear", _SIZES),
    Exclusion("Resize", "*_downsample_scales_linear_align_corners", _SIZES),
    Exclusion(
        "Resize",
        "*_linear_pytorch_half_pixel",
        "an axis of length 1 taken from the corner, which PyTorch itself does not do",
    ),
    Exclusion("Resize", "*_nearest_floor_align_corners", _NEAREST),
    Exclusion("Resize", "*_nearest_round_prefer_ceil_asymmetric", _NEAREST),
    Exclusion("Resize", "*_nearest_ceil_half_pixel", _NEAREST),
    Exclusion("Resize", "*_downsample_sizes_nearest", _NEAREST),
    Exclusion("Resize", "*_downsample_sizes_nearest_not_smaller", _NEAREST),
    Exclusion("RoiAlign", "*_mode_max", "roi_align averages"),
    Exclusion("ScatterElements", "*_reduction_m*", "scatter_add adds"),
)
