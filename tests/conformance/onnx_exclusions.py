"""Excluded ONNX node cases with reasons, by element type, operator and case.

Only unsupported features are excluded.  The tests fail if an exclusion matches no case, or if a
case neither runs nor is excluded.
"""

from __future__ import annotations

from typing import NamedTuple


class Exclusion(NamedTuple):
    """Cases of some operators whose names match an :mod:`fnmatch` pattern."""

    operators: str
    cases: str
    reason: str


def missing(what: str) -> str:
    return f"no {what}"


_RANDOM = "random numbers: ONNX defines no generator to compare with"
_3D = missing("3D layers")
_SEQUENCES = missing("sequences and optionals")
_4BIT, _2BIT, _8BIT = (missing(what) for what in ("4-bit types", "2-bit types", "8-bit floats"))
_NEAREST = missing("nearest-neighbor rounding other than PyTorch's floor(i * H / H')")

#: Unsupported element types, by ONNX name.
TYPES = {
    "BFLOAT16": missing("bfloat16 (dtypes are NumPy's)"),
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

#: Unsupported operators, separated by blanks.
OPERATORS = {
    "Attention FlexAttention LinearAttention CausalConvWithState RotaryEmbedding TensorScatter": (
        "ONNX's attention operators are not mapped"
    ),
    "GRU LSTM RNN": missing("recurrent layers"),
    "If Loop Scan": missing("control flow in graphs"),
    "SequenceMap SplitToSequence SequenceInsert OptionalHasElement OptionalGetElement "
    "SequenceEmpty SequenceLength": _SEQUENCES,
    "QuantizeLinear DequantizeLinear DynamicQuantizeLinear QLinearConv QLinearMatMul "
    "ConvInteger MatMulInteger": missing("quantization"),
    "StringConcat StringNormalizer StringSplit RegexFullMatch TfIdfVectorizer": missing("strings"),
    "LabelEncoder TreeEnsemble ArrayFeatureExtractor Binarizer": (
        missing("classical machine learning (domain ai.onnx.ml)")
    ),
    "DFT STFT": missing("complex numbers and Fourier transforms"),
    "BlackmanWindow HammingWindow HannWindow MelWeightMatrix": missing("signal processing"),
    "ImageDecoder": missing("image files"),
    "Acos Acosh Asin Asinh Atan Atanh": missing("inverse trigonometric and hyperbolic functions"),
    "BitShift": missing("bit shifts"),
    "BitCast": missing("bit casts"),
    "CumProd": missing("cumulative products"),
    "GridSample AffineGrid": missing("grid sampling"),
    "DeformConv": missing("deformable convolution"),
    "Col2Im": missing("col2im"),
    "MaxUnpool": missing("max unpooling"),
    "LRN": missing("local response normalization"),
    "Det": missing("determinants"),
    "Adagrad": missing("Adagrad"),
    "Bernoulli RandomUniformLike": _RANDOM,
}

CASES = (
    Exclusion("Conv ConvTranspose MaxPool AveragePool LpPool", "*_3d*", _3D),
    Exclusion("AveragePool LpPool", "*_2d_dilations", missing("dilated average pooling")),
    Exclusion("Dropout", "test_training_dropout_default*", _RANDOM),
    Exclusion("Dropout", "test_training_dropout", _RANDOM),
    Exclusion("Dropout", "test_training_dropout_mask", _RANDOM),
    Exclusion("Resize", "*_cubic*", missing("bicubic resizing")),
    Exclusion("Resize", "*_linear_antialias", missing("antialiased resizing")),
    Exclusion("Resize", "*_tf_crop_and_resize*", missing("crop and resize")),
    Exclusion("Resize", "*_linear_half_pixel_symmetric", missing("half_pixel_symmetric resizing")),
    Exclusion(
        "Resize",
        "*_downsample_scales_linear_align_corners",
        missing("align_corners with corners between output pixels"),
    ),
    Exclusion(
        "Resize",
        "*_linear_pytorch_half_pixel",
        missing("pytorch_half_pixel for a single output pixel (as in PyTorch)"),
    ),
    Exclusion("Resize", "*_nearest_floor_align_corners", _NEAREST),
    Exclusion("Resize", "*_nearest_round_prefer_ceil_asymmetric", _NEAREST),
    Exclusion("Resize", "*_nearest_ceil_half_pixel", _NEAREST),
    Exclusion("Resize", "*_downsample_sizes_nearest", _NEAREST),
    Exclusion("Resize", "*_downsample_sizes_nearest_not_smaller", _NEAREST),
    Exclusion("RoiAlign", "*_mode_max", missing("RoIAlign with mode=max")),
)
