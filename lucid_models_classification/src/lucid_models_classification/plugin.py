"""Hooks of the plugin: classifiers, commands, data checkers, model checks, weights, converters.

Imported whenever models are listed, so it imports neither a network nor Pillow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import lucid

if TYPE_CHECKING:
    from collections.abc import Callable

    import click

    from lucid.data.checkers import DataChecker
    from lucid.models.hookspecs import (
        RegisterModel,
        RegisterModelCheck,
        RegisterWeightConverter,
        RegisterWeights,
    )

# Name, aliases (the names in torchvision and timm, if they differ), family, parameters, summary.
_RESNETS = (
    ("resnet_18", ("resnet18",), "resnet", 11_689_512, "ResNet-18 image classifier"),
    ("resnet_34", ("resnet34",), "resnet", 21_797_672, "ResNet-34 image classifier"),
    ("resnet_50", ("resnet50",), "resnet", 25_557_032, "ResNet-50 image classifier"),
    ("resnet_101", ("resnet101",), "resnet", 44_549_160, "ResNet-101 image classifier"),
    ("resnet_152", ("resnet152",), "resnet", 60_192_808, "ResNet-152 image classifier"),
    (
        "wide_resnet_50_2",
        ("wide_resnet50_2",),
        "wide_resnet",
        68_883_240,
        "ResNet-50 with bottlenecks twice as wide",
    ),
    (
        "wide_resnet_101_2",
        ("wide_resnet101_2",),
        "wide_resnet",
        126_886_696,
        "ResNet-101 with bottlenecks twice as wide",
    ),
    (
        "resnext_50_32x4d",
        ("resnext50_32x4d",),
        "resnext",
        25_028_904,
        "ResNeXt-50 with 32 groups of width 4",
    ),
    (
        "resnext_101_32x8d",
        ("resnext101_32x8d",),
        "resnext",
        88_791_336,
        "ResNeXt-101 with 32 groups of width 8",
    ),
    (
        "resnext_101_64x4d",
        ("resnext101_64x4d",),
        "resnext",
        83_455_272,
        "ResNeXt-101 with 64 groups of width 4",
    ),
)
_MOBILENETS = (
    # timm's mobilenetv3_large_100 and mobilenetv3_small_100 have another norm_eps.
    (
        "mobilenet_v2",
        ("mobilenetv2_100",),
        "mobilenet_v2",
        3_504_872,
        "MobileNetV2 image classifier",
    ),
    (
        "mobilenet_v3_large",
        (),
        "mobilenet_v3",
        5_483_032,
        "MobileNetV3-Large image classifier",
    ),
    (
        "mobilenet_v3_small",
        (),
        "mobilenet_v3",
        2_542_856,
        "MobileNetV3-Small image classifier",
    ),
)


@lucid.hookimpl
def lucid_register_models(register: RegisterModel) -> None:
    """Register the classifiers."""
    for name, aliases, family, total_parameters, summary in (*_RESNETS, *_MOBILENETS):
        module = family.replace("_v", "v") if family.startswith("mobilenet") else "resnet"
        register(
            name,
            f"lucid_models_classification.{module}:{name}",
            task="image-classification",
            family=family,
            total_parameters=total_parameters,
            summary=summary,
            example_batch="lucid_models_classification.example_batch:example_batch",
            aliases=aliases,
        )


@lucid.hookimpl
def lucid_register_commands(cli: click.Group) -> None:
    """Add ``lucid classify`` and ``lucid train-classifier``."""
    from lucid_models_classification.commands import classify, train_classifier

    cli.add_command(classify)
    cli.add_command(train_classifier)


@lucid.hookimpl
def lucid_register_data_checkers(register: Callable[[DataChecker], object]) -> None:
    """Add the format of class folders to ``lucid check-data``."""
    from lucid.data.checkers import DataChecker
    from lucid_models_classification.training_data import check_folders, fits_folders

    expects = "a folder with one folder of images per class"
    register(DataChecker("class-folders", expects, fits_folders, check_folders))


@lucid.hookimpl
def lucid_register_model_checks(register: RegisterModelCheck) -> None:
    """Add the check of the commands on a classifier to ``lucid check-plugin``."""
    from lucid_models_classification.plugin_checks import check_commands

    register("image-classification", "commands", check_commands)


@lucid.hookimpl
def lucid_register_weight_converters(register: RegisterWeightConverter) -> None:
    """Add the converters of torchvision's classifiers, and of timm's MobileNetV2."""
    register(
        "torchvision-resnet",
        "lucid_models_classification.resnet_converter:converter",
        source="torchvision",
        task="image-classification",
        models=[name for name, *_ in _RESNETS],
    )
    for source, name, converter in (
        ("torchvision", "mobilenet_v2", "v2"),
        ("torchvision", "mobilenet_v3_large", "v3_large"),
        ("torchvision", "mobilenet_v3_small", "v3_small"),
        ("timm", "mobilenet_v2", "timm_v2"),
    ):
        register(
            f"{source}-{name.replace('_', '-')}",
            f"lucid_models_classification.mobilenet_converter:{converter}",
            source=source,
            task="image-classification",
            models=[name],
        )


@lucid.hookimpl
def lucid_register_weights(register: RegisterWeights) -> None:
    """Register torchvision's weights."""
    from lucid_models_classification.weights import register_weights

    register_weights(register)
