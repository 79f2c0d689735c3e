"""The one list of ONNX node cases that do not run, each with its reason.

By element type, by operator, and by case.  SPEC section 4 is the part of Lucid's contract
that lists tensors, operations, layers, losses and optimizers: what is not on that list is
not claimed, and nothing that is on it is left out here.  An exclusion that excludes nothing
fails the tests, as does a case that neither runs nor is excluded.
"""

from __future__ import annotations

from typing import NamedTuple


class Exclusion(NamedTuple):
    """Cases of one operator whose name fits a pattern (as of :mod:`fnmatch`)."""

    operators: str
    cases: str
    reason: str


def unnamed(what: str) -> str:
    return f"SPEC section 4 does not name {what}"


_RANDOM = "random numbers, of which ONNX fixes no generator: nothing to compare with"
_3D = unnamed("layers of three spatial axes")
_SEQUENCES = unnamed("sequences of tensors and optional values")
_4BIT, _2BIT, _8BIT = (unnamed(what) for what in ("4-bit types", "2-bit types", "8-bit floats"))
_NEAREST = unnamed("a nearest pixel by another rule than PyTorch's floor(i * H / H')")

#: Element types that tensors do not have, by the name that ONNX gives them.
TYPES = {
    "BFLOAT16": unnamed("bfloat16: element types are NumPy's"),
    "STRING": unnamed("strings"),
    "FLOAT8E4M3FN": _8BIT,
    "FLOAT8E4M3FNUZ": _8BIT,
    "FLOAT8E5M2": _8BIT,
    "FLOAT8E5M2FNUZ": _8BIT,
    "FLOAT8E8M0": _8BIT,
    "FLOAT4E2M1": _4BIT,
    "INT2": _2BIT,
    "UINT2": _2BIT,
    "INT4": _4BIT,
    "UINT4": _4BIT,
    "SEQUENCE": _SEQUENCES,
    "OPTIONAL": _SEQUENCES,
}

#: What Lucid does not claim to have.  Operators separated by blanks.
OPERATORS = {
    "Attention FlexAttention LinearAttention CausalConvWithState RotaryEmbedding TensorScatter": (
        unnamed("attention and its caches")
    ),
    "GRU LSTM RNN": unnamed("recurrent layers"),
    "If Loop Scan": unnamed("control flow in graphs"),
    "SequenceMap SplitToSequence SequenceInsert OptionalHasElement OptionalGetElement "
    "SequenceEmpty SequenceLength": _SEQUENCES,
    "QuantizeLinear DequantizeLinear DynamicQuantizeLinear QLinearConv QLinearMatMul "
    "ConvInteger MatMulInteger": unnamed("quantisation"),
    "StringConcat StringNormalizer StringSplit RegexFullMatch TfIdfVectorizer": unnamed("strings"),
    "LabelEncoder TreeEnsemble ArrayFeatureExtractor Binarizer": (
        unnamed("classical machine learning (ONNX's domain ai.onnx.ml)")
    ),
    "DFT STFT": unnamed("complex numbers or Fourier transforms"),
    "BlackmanWindow HammingWindow HannWindow MelWeightMatrix": unnamed("processing of signals"),
    "ImageDecoder": unnamed("files of images"),
    "Acos Acosh Asin Asinh Atan Atanh": unnamed("inverse trigonometric or hyperbolic functions"),
    "BitShift": unnamed("shifts of bits"),
    "BitCast": unnamed("reading bits as another type"),
    "CumProd": unnamed("a running product"),
    "GridSample AffineGrid": unnamed("sampling on a grid"),
    "DeformConv": unnamed("deformable convolution"),
    "Col2Im": unnamed("sums of overlapping columns"),
    "MaxUnpool": unnamed("the inverse of pooling"),
    "LRN": unnamed("local response normalisation"),
    "Det": unnamed("determinants"),
    "Adagrad": unnamed("Adagrad"),
    "Bernoulli RandomUniformLike": _RANDOM,
}

CASES = (
    Exclusion("Conv ConvTranspose MaxPool AveragePool LpPool", "*_3d*", _3D),
    Exclusion("AveragePool LpPool", "*_2d_dilations", unnamed("dilation of windows with means")),
    Exclusion("Dropout", "test_training_dropout_default*", _RANDOM),
    Exclusion("Dropout", "test_training_dropout", _RANDOM),
    Exclusion("Dropout", "test_training_dropout_mask", _RANDOM),
    Exclusion("Resize", "*_cubic*", unnamed("bicubic resizing")),
    Exclusion("Resize", "*_linear_antialias", unnamed("resizing with antialiasing")),
    Exclusion("Resize", "*_tf_crop_and_resize*", unnamed("resizing of a region")),
    Exclusion("Resize", "*_linear_half_pixel_symmetric", unnamed("resizing about the centre")),
    Exclusion(
        "Resize",
        "*_downsample_scales_linear_align_corners",
        unnamed("corners that lie between two pixels of the result"),
    ),
    Exclusion(
        "Resize",
        "*_linear_pytorch_half_pixel",
        unnamed("a single pixel taken from the corner, which PyTorch does not do either"),
    ),
    Exclusion("Resize", "*_nearest_floor_align_corners", _NEAREST),
    Exclusion("Resize", "*_nearest_round_prefer_ceil_asymmetric", _NEAREST),
    Exclusion("Resize", "*_nearest_ceil_half_pixel", _NEAREST),
    Exclusion("Resize", "*_downsample_sizes_nearest", _NEAREST),
    Exclusion("Resize", "*_downsample_sizes_nearest_not_smaller", _NEAREST),
    Exclusion("RoiAlign", "*_mode_max", "SPEC section 7 names RoIAlign by means, not by maxima"),
)
