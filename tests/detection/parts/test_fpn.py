from __future__ import annotations

import numpy as np
import pytest

import lucid
from lucid import Tensor, nn
from lucid.testing import gradcheck
from lucid_models_detection.parts import FeaturePyramidNetwork, LastLevelMaxPool, LastLevelP6P7
from lucid_models_detection.parts.fpn import _add_upsampled


def stages(channels: tuple[int, ...] = (2, 3, 4)) -> list[Tensor]:
    return [lucid.random.randn(1, c, 8 >> i, 12 >> i) for i, c in enumerate(channels)]


def test_levels_of_stages_and_extra_blocks() -> None:
    fpn = FeaturePyramidNetwork((2, 3, 4), 5)
    shapes = [(1, 5, 8, 12), (1, 5, 4, 6), (1, 5, 2, 3)]
    assert [level.shape for level in fpn(stages())] == shapes
    fpn.extra_blocks = LastLevelMaxPool()
    assert [level.shape for level in fpn(stages())] == [*shapes, (1, 5, 1, 2)]
    fpn.extra_blocks = LastLevelP6P7(4, 5)
    assert [level.shape for level in fpn(stages())] == [*shapes, (1, 5, 1, 2), (1, 5, 1, 1)]
    fpn.extra_blocks = None
    assert [level.shape for level in fpn(stages())] == shapes


def test_max_pooling_keeps_every_other_pixel() -> None:
    levels = FeaturePyramidNetwork((2, 3, 4), 5, LastLevelMaxPool())(stages())
    np.testing.assert_array_equal(levels[-1].data, levels[-2].data[:, :, ::2, ::2])


def test_p6_is_computed_from_the_last_stage_or_the_last_level() -> None:
    levels, maps = [lucid.random.randn(1, 3, 6, 6)], [lucid.random.randn(1, 3, 6, 6)]
    for use_p5, source in ((None, levels), (True, levels), (False, maps)):
        extra = LastLevelP6P7(3, 3, use_p5=use_p5)
        p6, p7 = extra(levels, maps)
        np.testing.assert_allclose(p6.data, extra.p6(source[-1]).data)
        np.testing.assert_allclose(p7.data, extra.p7(nn.functional.relu(p6)).data)
    assert not LastLevelP6P7(4, 3).use_p5
    assert [p.shape for p in LastLevelP6P7(4, 3).parameters()] == [
        (3, 4, 3, 3), (3,), (3, 3, 3, 3), (3,),
    ]  # fmt: skip


def test_max_pool_levels_have_no_parameters() -> None:
    plain, pooled = (
        FeaturePyramidNetwork((2, 3), 5),
        FeaturePyramidNetwork((2, 3), 5, LastLevelMaxPool()),
    )
    assert plain.state_dict().keys() == pooled.state_dict().keys()
    extended = FeaturePyramidNetwork((2, 3), 5, LastLevelP6P7(3, 5))
    assert {
        f"extra_blocks.{level}.{part}" for level in ("p6", "p7") for part in ("weight", "bias")
    } == extended.state_dict().keys() - plain.state_dict().keys()


def test_invalid_pyramid_arguments_are_rejected() -> None:
    with pytest.raises(TypeError, match=r"extra_blocks: expected an ExtraFPNBlock.*got Conv2d"):
        FeaturePyramidNetwork((2,), 5, nn.Conv2d(2, 2, 1))  # type: ignore[arg-type]
    for channels in ((), (2, 0)):
        with pytest.raises(ValueError, match=r"in_channels.*out_channels"):
            FeaturePyramidNetwork(channels, 5)
    with pytest.raises(ValueError, match="expected 2 stages, got 3"):
        FeaturePyramidNetwork((2, 3), 5)(stages())


def test_merging_by_hand() -> None:
    fpn = FeaturePyramidNetwork((1, 1), 1)
    for conv, scale in zip(fpn.lateral, (1.0, 10.0), strict=True):
        conv.weight.data[...] = scale
    for conv in fpn.output:  # the identity
        conv.weight.data[...] = 0
        conv.weight.data[0, 0, 1, 1] = 1
    fine = Tensor(np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4))
    coarse = Tensor(np.array([[[[1, 2], [3, 4]]]], np.float32))
    levels = fpn([fine, coarse])
    expected = fine.data + 10 * coarse.data.repeat(2, axis=2).repeat(2, axis=3)
    np.testing.assert_allclose(levels[0].data, expected)
    np.testing.assert_allclose(levels[1].data, 10 * coarse.data)


def test_odd_sizes_meet_by_the_nearest_pixel() -> None:
    fpn = FeaturePyramidNetwork((1, 1), 1)
    levels = fpn([lucid.zeros(1, 1, 5, 7), lucid.zeros(1, 1, 3, 4)])
    assert [level.shape[2:] for level in levels] == [(5, 7), (3, 4)]


def test_gradient_of_merging() -> None:
    fine = lucid.random.randn(2, 3, 5, 7, dtype=lucid.float64).requires_grad_()
    coarse = lucid.random.randn(2, 3, 3, 4, dtype=lucid.float64).requires_grad_()
    gradcheck(_add_upsampled, [fine, coarse])


def test_merging_a_map_of_the_same_size_leaves_it_alone() -> None:
    coarse = lucid.ones(1, 1, 2, 2)
    total = _add_upsampled(lucid.ones(1, 1, 2, 2), coarse)
    np.testing.assert_array_equal(total.data, np.full((1, 1, 2, 2), 2))
    np.testing.assert_array_equal(coarse.data, np.ones((1, 1, 2, 2)))


def test_initial_values() -> None:
    fpn = FeaturePyramidNetwork((64, 128), 256)
    # Kaiming uniform with a = 1: bound sqrt(3 / fan_in).
    bound = np.sqrt(3 / 64)
    assert 0.99 * bound < np.abs(fpn.lateral[0].weight.data).max() <= bound
    assert not any(conv.bias.data.any() for conv in (*fpn.lateral, *fpn.output))


def test_wrong_number_of_extra_levels_is_rejected() -> None:
    class Two(LastLevelMaxPool):
        num_levels = 2

    with pytest.raises(ValueError, match=r"Two: .*2 levels \(num_levels\), got 1"):
        FeaturePyramidNetwork((2, 3, 4), 5, Two())(stages())
