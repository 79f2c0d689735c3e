"""Head of one-stage detectors, shared by all levels of the feature pyramid.

Lin et al. 2017, "Focal Loss for Dense Object Detection" (arXiv:1708.02002), section 4.

N images, L levels, A anchors per location.
"""

from __future__ import annotations

from collections.abc import Sequence

from lucid import Tensor, nn

__all__ = ["DenseHead"]


class DenseHead(nn.Module):
    """Four 3x3 convolutions with ReLU, then a 3x3 convolution that predicts for each anchor.

    Parameters
    ----------
    channels : int
        Channels of every level of the pyramid.
    num_anchors : int
        A, the number of anchors per location.
    num_outputs : int
        Outputs per anchor: C for classification, 4 for box regression.
    bias : float, default 0.0
        Initial bias of the last convolution.

    Attributes
    ----------
    conv : Sequential
        The four convolutions with ReLU.
    output : Conv2d
        The last convolution; its channels are all outputs of the first anchor, then of the next.

    Examples
    --------
    >>> import lucid
    >>> from lucid_models_detection.parts import DenseHead
    >>> head = DenseHead(channels=8, num_anchors=3, num_outputs=5)
    >>> [out.shape for out in head([lucid.zeros(1, 8, 4, 4), lucid.zeros(1, 8, 2, 2)])]
    [(1, 48, 5), (1, 12, 5)]
    """

    replayable = True

    def __init__(
        self, channels: int, num_anchors: int, num_outputs: int, bias: float = 0.0
    ) -> None:
        super().__init__()
        self.num_outputs = num_outputs
        self.conv = nn.Sequential(
            *(nn.ConvNormAct(channels, channels, 3, norm=None) for _ in range(4))
        )
        self.output = nn.Conv2d(channels, num_anchors * num_outputs, 3, padding=1)
        for name, parameter in self.named_parameters():
            if name.endswith("weight"):
                nn.init.normal_(parameter, std=0.01)
            else:
                nn.init.constant_(parameter, bias if name == "output.bias" else 0.0)

    def forward(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """Predict the outputs of each anchor.

        Parameters
        ----------
        levels : sequence of Tensor
            L maps (N, channels, H_l, W_l).

        Returns
        -------
        list of Tensor
            For each level (N, H_l * W_l * A, num_outputs), in the order of
            :class:`~lucid_models_detection.parts.AnchorGenerator`.
        """
        outputs = [self.output(self.conv(level)) for level in levels]
        # Free of copies: tensors are channels-last in memory.
        return [
            output.permute(0, 2, 3, 1).reshape(output.shape[0], -1, self.num_outputs)
            for output in outputs
        ]
