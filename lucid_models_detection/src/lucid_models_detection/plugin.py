"""Hooks of the plugin: detectors, commands, data checkers, model checks, weights, converters.

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

# Name, aliases (torchvision's name), parameters, module, summary.  Parameters are counted by name:
# the backbone's stem, which is registered twice, counts twice.
_DETECTORS = (
    (
        "faster_rcnn_fpn",
        ("fasterrcnn_fpn",),
        28_911_102,
        "faster_rcnn",
        "Faster R-CNN with a feature pyramid on any backbone by name",
    ),
    (
        "retinanet_fpn",
        (),
        20_118_857,
        "retinanet",
        "RetinaNet with a feature pyramid on any backbone by name",
    ),
    *(
        (
            f"faster_rcnn_resnet_{depth}_fpn",
            (f"fasterrcnn_resnet{depth}_fpn",),
            total_parameters,
            "faster_rcnn",
            f"Faster R-CNN with a ResNet-{depth} feature pyramid",
        )
        for depth, total_parameters in (
            (18, 28_911_102),
            (34, 39_019_262),
            (50, 43_515_902),
            (101, 62_508_030),
        )
    ),
    *(
        (
            f"retinanet_resnet_{depth}_fpn",
            (f"retinanet_resnet{depth}_fpn",),
            total_parameters,
            "retinanet",
            f"RetinaNet with a ResNet-{depth} feature pyramid",
        )
        for depth, total_parameters in ((18, 20_118_857), (50, 34_674_505))
    ),
)


@lucid.hookimpl
def lucid_register_models(register: RegisterModel) -> None:
    """Register the detectors."""
    for name, aliases, total_parameters, module, summary in _DETECTORS:
        register(
            name,
            f"lucid_models_detection.{module}.builders:{name}",
            task="object-detection",
            family=module,
            total_parameters=total_parameters,
            summary=summary,
            example_batch="lucid_models_detection.example_batch:example_batch",
            aliases=aliases,
        )


@lucid.hookimpl
def lucid_register_commands(cli: click.Group) -> None:
    """Add ``lucid detect``, ``lucid train-detector`` and ``lucid evaluate``."""
    from lucid_models_detection.commands import detect
    from lucid_models_detection.training_commands import evaluate, train_detector

    for command in (detect, train_detector, evaluate):
        cli.add_command(command)


@lucid.hookimpl
def lucid_register_data_checkers(register: Callable[[DataChecker], object]) -> None:
    """Add the formats of COCO and Pascal VOC to ``lucid check-data``."""
    from lucid_models_detection.data.checkers import CHECKERS

    for checker in CHECKERS:
        register(checker)


@lucid.hookimpl
def lucid_register_model_checks(register: RegisterModelCheck) -> None:
    """Add checks of detectors, and of the commands on them, to ``lucid check-plugin``."""
    from lucid_models_detection.plugin_checks import check_commands, check_members

    register("object-detection", "detector", check_members)
    register("object-detection", "commands", check_commands)


@lucid.hookimpl
def lucid_register_weight_converters(register: RegisterWeightConverter) -> None:
    """Add the converters of torchvision's detectors, one for each family."""
    for package in dict.fromkeys(module for *_, module, _ in _DETECTORS):
        register(
            f"torchvision-{package}",
            f"lucid_models_detection.{package}.converter:converter",
            source="torchvision",
            task="object-detection",
            models=[name for name, *_, module, _ in _DETECTORS if module == package],
        )


@lucid.hookimpl
def lucid_register_weights(register: RegisterWeights) -> None:
    """Register torchvision's weights, with its network's options; it trained with an eps of 0."""
    from lucid_models_detection.torchvision import torchvision_config

    for family, model, file, mebibytes, box_map in (
        (
            "faster_rcnn",
            "faster_rcnn_resnet_50_fpn",
            "fasterrcnn_resnet50_fpn_coco-258fb6c6",
            159.743,
            37.0,
        ),
        (
            "retinanet",
            "retinanet_resnet_50_fpn",
            "retinanet_resnet50_fpn_coco-eeacb38b",
            130.267,
            36.4,
        ),
    ):
        register(
            model,
            "coco_v1",
            url=f"https://download.pytorch.org/models/{file}.pth",
            sha256=file.rpartition("-")[2],
            size=round(mebibytes * 2**20),
            license="BSD-3-Clause; trained on COCO, see its terms of use",
            source="torchvision",
            metrics={"box mAP": box_map},
            classes="lucid_models_detection.data.coco:COCO_CLASSES",
            arguments={"num_classes": 91, "norm_eps": 0.0, **torchvision_config(family)},
            converter=f"torchvision-{family}",
        )
