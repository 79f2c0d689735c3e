"""Op database: ``lucid.nn.functional``, and the layers and losses of ``lucid.nn``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from op_info import N, OpInfo, Sample, floats, integers

import lucid
from lucid import nn
from lucid.nn import functional as F


def _function(
    key: str, *samples: Sample, then: tuple[Any, ...] = (), options: dict[str, Any] | None = None,
    call: Callable[..., Any] | None = None,
) -> OpInfo:  # fmt: skip
    function = getattr(F, key.partition(" ")[0]) if call is None else call
    return OpInfo(f"functional.{key}", function, samples, then, options or {})


def _layer(
    key: str, *samples: Sample, then: tuple[Any, ...] = (), options: dict[str, Any] | None = None,
    training: bool = True, plain: bool = True,
) -> OpInfo:  # fmt: skip
    """Build a layer for each call, with fixed random weights, in the input's dtype."""

    def call(*given: Any, **options: Any) -> Any:
        tensors, settings = given[: len(samples)], given[len(samples) :]
        lucid.random.seed(1)
        layer = getattr(nn, key.partition(" ")[0])(*settings, **options)
        layer = layer.to(lucid.as_tensor(tensors[0]).dtype).train(training)
        return layer(*tensors)

    return OpInfo(f"nn.{key}", call, samples, then, options or {}, plain=plain)


def _image(*, channels: Any = 3, batch: Any = N) -> Sample:
    return floats(batch, channels, 5, 6)


def _seeded_attention(*tensors: Any, **options: Any) -> Any:
    lucid.random.seed(2)
    return F.scaled_dot_product_attention(*tensors, **options)


VECTOR = floats(3)
DEVIATION = floats(3, low=0.5, high=2)
#: Logits of three classes, and labels.
SCORES, CLASSES = floats(N, 3, 2), integers(N, 2, high=3)
BOTH = (floats(N, 4), floats(N, 4))
PROBABILITIES = floats(N, 4, low=0, high=1)

FUNCTIONS = [
    _function("affine_act", _image(), VECTOR, VECTOR),
    _function("affine_act fused", _image(), VECTOR, VECTOR, _image(), then=("relu",)),
    _function("affine_act with hardswish", _image(), VECTOR, VECTOR, _image(), then=("hardswish",)),
    _function("batch_norm", _image(), options={"eps": 1e-3}, call=lambda x, **o: F.batch_norm(
        x, lucid.ones(3), lucid.ones(3), **o)),
    _function(
        "batch_norm fused", _image(), VECTOR, DEVIATION, _image(),
        options={"eps": 1e-3, "activation": "hardswish"},
        call=lambda x, weight, bias, residual, **o: F.batch_norm(
            x, lucid.ones(3), lucid.ones(3), weight, bias, residual=residual, **o
        ),
    ),
    _function(
        "batch_norm of the batch", _image(batch=2), VECTOR, DEVIATION, _image(batch=2),
        options={"eps": 1e-3, "momentum": 0.3, "activation": "hardswish", "training": True},
        call=lambda x, weight, bias, residual, **o: F.batch_norm(
            x, lucid.zeros(3), lucid.ones(3), weight, bias, residual=residual, **o
        ),
    ),
    _function("group_norm", floats(N, 4, 3, 2), floats(4), floats(4), options={"eps": 1e-3},
              call=lambda x, w, b, **o: F.group_norm(x, 2, w, b, **o)),
    _function("layer_norm", floats(N, 2, 4), floats(2, 4), floats(2, 4), options={"eps": 1e-3},
              call=lambda x, w, b, **o: F.layer_norm(x, (2, 4), w, b, **o)),
    _function("layer_norm of a row", floats(N, 4), then=(4,)),
    _function("conv_transpose2d", floats(N, 4, 3, 4), floats(4, 3, 3, 2), floats(3),
              options={"stride": 2, "padding": 1, "output_padding": 1}),
    _function("conv_transpose2d in groups", floats(N, 4, 3, 4), floats(4, 1, 2, 2),
              options={"groups": 2, "dilation": 2}),
    _function("adaptive_avg_pool2d", _image(), then=((2, None),)),
    _function("adaptive_avg_pool2d to one pixel", _image(), then=(1,)),
    _function("avg_pool2d", _image(), then=((2, 3), 2, 1, True, False)),
    _function("avg_pool2d with a divisor", _image(), then=(2,), options={"divisor_override": 3}),
    _function("avg_pool2d of no channels", _image(channels=N), then=(2,)),
    _function("max_pool2d", _image(), then=((2, 3), 2, 1, 2, True)),
    _function("max_pool2d with indices", _image(), then=(3, 2, 1),
              options={"return_indices": True}),
    _function("max_pool2d of no channels", _image(channels=N), then=(2,)),
    _function("interpolate", _image(), then=((3, 9),)),
    _function("interpolate bilinearly", _image(),
              options={"scale_factor": (0.5, 2.5), "mode": "bilinear"}),
    _function("interpolate by a factor", _image(), options={"scale_factor": 1.3}),
    _function("interpolate by a factor of the sizes", _image(),
              options={"scale_factor": 1.3, "mode": "bilinear", "recompute_scale_factor": True}),
    _function("interpolate with corners", _image(), then=(7,),
              options={"mode": "bilinear", "align_corners": True}),
    _function("gelu", floats(N, 4)),
    _function("gelu by tanh", floats(N, 4), then=("tanh",)),
    *(
        _function(name, floats(N, 4)) for name in ("silu", "relu6", "hardsigmoid", "hardswish")
    ),
    _function("leaky_relu", floats(N, 4), then=(0.2,)),
    *(
        _function(f"{name} of a number", floats()) for name in ("gelu", "silu", "leaky_relu")
    ),
    _function("channel_shuffle", _image(channels=6), then=(3,)),
    _function("channel_shuffle of vectors", floats(N, 6), then=(2,)),
    _function("pad", floats(2, N, 3), then=((1, 2, 0, 3), "constant", 1.5)),
    _function("pad to less", floats(N, 4), then=((-1, 2),)),
    *(
        _function(f"pad {mode}", floats(N, 4, 3), then=((1, 2, 3, 0), mode))
        for mode in ("reflect", "replicate", "circular")
    ),
    _function("dropout", floats(N, 4), then=(0.4,),
              call=lambda x, p: F.dropout(x, p, generator=lucid.random.Generator(3))),
    _function("dropout in evaluation", floats(N, 4), then=(0.4, False)),
    _function("scaled_dot_product_attention", floats(2, N, 4, 5), floats(2, 1, 6, 5),
              floats(N, 6, 3)),
    _function("scaled_dot_product_attention with a mask", floats(N, 4, 5), floats(N, 6, 5),
              floats(N, 6, 3), floats(4, 6), options={"scale": 0.3}),
    _function("scaled_dot_product_attention in causal order", floats(N, 4, 5), floats(N, 4, 5),
              floats(N, 4, 3), options={"is_causal": True}),
    _function("scaled_dot_product_attention with dropout", floats(N, 4, 5), floats(N, 6, 5),
              floats(N, 6, 3), options={"dropout_p": 0.3}, call=_seeded_attention),
    *(
        _function(
            f"stochastic_depth of a {mode}", floats(N, 4), then=(0.4, mode),
            call=lambda x, p, mode: F.stochastic_depth(
                x, p, mode, generator=lucid.random.Generator(3)
            ),
        )
        for mode in ("row", "batch")
    ),
]  # fmt: skip

LOSSES = [
    _function("cross_entropy", SCORES, CLASSES),
    _function("cross_entropy with options", SCORES, CLASSES,
              options={"weight": np.array([0.9, 0.5, 0.2], ">f8")[::-1], "label_smoothing": 0.1,
                       "ignore_index": 1, "reduction": "sum"}),
    _function("cross_entropy of no classes", floats(0, N), integers(0),
              options={"reduction": "sum"}),
    _function("cross_entropy of probabilities", floats(N, 4), PROBABILITIES,
              options={"label_smoothing": 0.1, "reduction": "none"}),
    _function("nll_loss", SCORES, CLASSES, options={"reduction": "none"}),
    _function("nll_loss mean", SCORES, CLASSES,
              options={"weight": np.array([0.9, 0.5, 0.2], ">f8")[::-1], "ignore_index": 1}),
    _function("binary_cross_entropy_with_logits", floats(N, 4), PROBABILITIES),
    _function("binary_cross_entropy_with_logits weighed", floats(N, 4), PROBABILITIES,
              options={"weight": 0.3, "pos_weight": 2.5, "reduction": "none"}),
    _function("sigmoid_focal_loss", floats(N, 4), PROBABILITIES),
    _function("sigmoid_focal_loss sum", floats(N, 4), PROBABILITIES,
              options={"alpha": 0.6, "gamma": 1.5, "reduction": "sum"}),
    *(
        _function(f"{name} {reduction}", *BOTH, options={"reduction": reduction, **options})
        for name, options in (
            ("mse_loss", {}), ("l1_loss", {}), ("smooth_l1_loss", {"beta": 0.3}),
            ("huber_loss", {"delta": 0.3}),
        )
        for reduction in ("mean", "sum", "none")
    ),
]  # fmt: skip

LAYERS = [
    _layer("AdaptiveAvgPool2d", _image(), then=(2,)),
    _layer("AvgPool2d", _image(), then=(2,), options={"padding": 1}),
    _layer("MaxPool2d", _image(), then=(3, 2, 1)),
    _layer("MaxPool2d with indices", _image(), then=(2,), options={"return_indices": True}),
    _layer("Conv2d padded by the image", _image(), then=(3, 4, 3),
           options={"padding": 1, "padding_mode": "reflect"}),
    _layer("Upsample", _image(), options={"scale_factor": 1.5, "mode": "bilinear"}),
    _layer("BatchNorm2d", _image(batch=2), then=(3,), options={"eps": 1e-3, "momentum": 0.2}),
    _layer("BatchNorm2d averaging", _image(batch=2), then=(3,), options={"momentum": None}),
    _layer("BatchNorm2d in evaluation", _image(), then=(3,), training=False),
    _layer("FrozenBatchNorm2d", _image(), then=(3,), options={"eps": 1e-3}),
    _layer("GroupNorm", _image(channels=4), then=(2, 4), options={"eps": 1e-3}),
    _layer("LayerNorm", _image(), then=((5, 6),), options={"eps": 1e-3}),
    _layer("LayerNorm of a row", floats(N, 4), then=(4,)),
    *(
        _layer(f"{name}{suffix}", _image(), then=(3, 4, 3), options={"stride": 2}, training=on)
        for name in ("Conv2d", "ConvTranspose2d", "ConvNormAct")
        for suffix, on in (("", True), (" in evaluation", False))
        if name != "ConvNormAct" or not on
    ),
    _layer("ConvNormAct", _image(batch=2), then=(3, 4, 3), options={"norm_eps": 1e-3}),
    _layer("ConvNormAct with a residual", _image(), floats(N, 4, 5, 6), then=(3, 4, 3),
           options={"norm": "frozen"}, training=False),
    _layer("Linear", floats(N, 2, 4), then=(4, 3)),
    _layer("Dropout", floats(N, 4), then=(0.3,)),
    _layer("StochasticDepth", floats(N, 4), then=(0.3,)),
    _layer("SqueezeExcitation", _image(), then=(3, 2)),
    _layer("Dropout in evaluation", floats(N, 4), then=(0.3,), training=False),
    _layer("ChannelShuffle", _image(channels=4), then=(2,)),
    _layer("Flatten", _image(), then=(1, 2)),
    _layer("LeakyReLU", floats(N, 4), then=(0.2,)),
    *(_layer(name, floats(N, 4), then=(1,)) for name in ("Softmax", "LogSoftmax")),
    *(_layer(name, floats(N, 4)) for name in ("GELU", "ReLU", "SiLU", "Sigmoid", "Tanh")),
    *(_layer(name, floats(N, 4)) for name in ("Hardsigmoid", "Hardswish", "ReLU6")),
    _layer("Identity", floats(N, 4), plain=False),
    OpInfo(
        "nn.Sequential",
        lambda x: nn.Sequential(nn.Sigmoid(), nn.Flatten())(x),
        (floats(N, 2, 3),),
    ),
    _layer("CrossEntropyLoss", SCORES, CLASSES,
           options={"label_smoothing": 0.1, "ignore_index": 1}),
    _layer("NLLLoss", SCORES, CLASSES),
    _layer("BCEWithLogitsLoss", floats(N, 4), PROBABILITIES,
           options={"weight": 0.3, "pos_weight": 2.5}),
    _layer("MSELoss", *BOTH),
    _layer("L1Loss", *BOTH),
    _layer("SmoothL1Loss", *BOTH, options={"beta": 0.3}),
    _layer("HuberLoss", *BOTH, options={"delta": 0.3}),
]  # fmt: skip
