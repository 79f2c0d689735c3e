"""The one list of ONNX node cases that do not run, each with its reason.

By element type, by operator, and by case.  Excluded is only what Lucid does not have and
does not claim to have; nothing that it has is left out.  An exclusion that excludes nothing
fails the tests, as does a case that neither runs nor is excluded.
"""

from __future__ import annotations

from typing import NamedTuple


class Exclusion(NamedTuple):
    """Cases of one operator whose name fits a pattern (as of :mod:`fnmatch`)."""

    operators: str
    cases: str
    reason: str


def missing(what: str) -> str:
    return f"Lucid does not have {what}"


_RANDOM = "random numbers, of which ONNX fixes no generator: nothing to compare with"
_3D = missing("layers of three spatial axes")
_SEQUENCES = missing("sequences of tensors and optional values")
_4BIT, _2BIT, _8BIT = (missing(what) for what in ("4-bit types", "2-bit types", "8-bit floats"))
_NEAREST = missing("a nearest pixel by another rule than PyTorch's floor(i * H / H')")

#: Element types that tensors do not have, by the name that ONNX gives them.
TYPES = {
    "BFLOAT16": missing("bfloat16: element types are NumPy's"),
    "STRING": missing("strings"),
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
        missing("attention and its caches")
    ),
    "GRU LSTM RNN": missing("recurrent layers"),
    "If Loop Scan": missing("control flow in graphs"),
    "SequenceMap SplitToSequence SequenceInsert OptionalHasElement OptionalGetElement "
    "SequenceEmpty SequenceLength": _SEQUENCES,
    "QuantizeLinear DequantizeLinear DynamicQuantizeLinear QLinearConv QLinearMatMul "
    "ConvInteger MatMulInteger": missing("quantisation"),
    "StringConcat StringNormalizer StringSplit RegexFullMatch TfIdfVectorizer": missing("strings"),
    "LabelEncoder TreeEnsemble ArrayFeatureExtractor Binarizer": (
        missing("classical machine learning (ONNX's domain ai.onnx.ml)")
    ),
    "DFT STFT": missing("complex numbers or Fourier transforms"),
    "BlackmanWindow HammingWindow HannWindow MelWeightMatrix": missing("processing of signals"),
    "ImageDecoder": missing("files of images"),
    "Acos Acosh Asin Asinh Atan Atanh": missing(
        "inverses of trigonometric or hyperbolic functions"
    ),
    "BitShift": missing("shifts of bits"),
    "BitCast": missing("reading bits as another type"),
    "CumProd": missing("a running product"),
    "GridSample AffineGrid": missing("sampling on a grid"),
    "DeformConv": missing("deformable convolution"),
    "Col2Im": missing("sums of overlapping columns"),
    "MaxUnpool": missing("the inverse of pooling"),
    "LRN": missing("local response normalisation"),
    "Det": missing("determinants"),
    "Adagrad": missing("Adagrad"),
    "Bernoulli RandomUniformLike": _RANDOM,
}

CASES = (
    Exclusion("Conv ConvTranspose MaxPool AveragePool LpPool", "*_3d*", _3D),
    Exclusion("AveragePool LpPool", "*_2d_dilations", missing("dilation of windows with means")),
    Exclusion("Dropout", "test_training_dropout_default*", _RANDOM),
    Exclusion("Dropout", "test_training_dropout", _RANDOM),
    Exclusion("Dropout", "test_training_dropout_mask", _RANDOM),
    Exclusion("Resize", "*_cubic*", missing("bicubic resizing")),
    Exclusion("Resize", "*_linear_antialias", missing("resizing with antialiasing")),
    Exclusion("Resize", "*_tf_crop_and_resize*", missing("resizing of a region")),
    Exclusion("Resize", "*_linear_half_pixel_symmetric", missing("resizing about the centre")),
    Exclusion(
        "Resize",
        "*_downsample_scales_linear_align_corners",
        missing("corners that lie between two pixels of the result"),
    ),
    Exclusion(
        "Resize",
        "*_linear_pytorch_half_pixel",
        missing("a single pixel taken from the corner, which PyTorch does not do either"),
    ),
    Exclusion("Resize", "*_nearest_floor_align_corners", _NEAREST),
    Exclusion("Resize", "*_nearest_round_prefer_ceil_asymmetric", _NEAREST),
    Exclusion("Resize", "*_nearest_ceil_half_pixel", _NEAREST),
    Exclusion("Resize", "*_downsample_sizes_nearest", _NEAREST),
    Exclusion("Resize", "*_downsample_sizes_nearest_not_smaller", _NEAREST),
    Exclusion("RoiAlign", "*_mode_max", "Lucid does not have RoIAlign by maxima, only by means"),
)
