"""The plugin's registrations match its models."""

from __future__ import annotations

import pytest

import lucid
import lucid_models_classification as package

DISTRIBUTION = "lucid-models-classification"


def test_families() -> None:
    assert lucid.models.list_models(family="resnet", plugin=DISTRIBUTION) == [
        "resnet_18",
        "resnet_34",
        "resnet_50",
        "resnet_101",
        "resnet_152",
    ]
    assert len(lucid.models.list_models(family=["wide_resnet", "resnext"])) == 5
    assert lucid.models.list_models(family="mobilenet_v3") == [
        "mobilenet_v3_large",
        "mobilenet_v3_small",
    ]


def test_multiply_adds_are_the_published_ones() -> None:
    # torchvision publishes 1.81 billion for ResNet-18 at 224 x 224.
    summary = lucid.models.summarize(lucid.models.create_model("resnet_18"), (1, 3, 224, 224))
    assert summary.multiply_adds == 1_814_073_344
    assert summary.parameters == 11_689_512


def test_torchvision_names_give_a_remedy() -> None:
    with pytest.raises(ImportError, match=r"such as lucid\.models\.resnet50"):
        from lucid_models_classification import resnet50  # noqa: F401
    with pytest.raises(AttributeError, match=r"weights=\"imagenet1k_v2\""):
        _ = package.ResNet50_Weights
    assert not hasattr(package, "vgg16")
