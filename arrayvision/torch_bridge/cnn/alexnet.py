"""AlexNet. A. Krizhevsky, "One weird trick for parallelizing convolutional neural networks", 2014."""

from __future__ import annotations

import logging

from torch import Tensor, nn

from arrayvision.torch_bridge.cnn.checkpoint import load_checkpoint


class AlexNet(nn.Module):
    """AlexNet.

    Parameters
    ----------
    num_classes : int
        Classes of the classifier (for images of 224 x 224); -1 for the features alone.
    """

    def __init__(self, num_classes: int = -1):
        super().__init__()
        self.num_classes = num_classes
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, 11, 4, 2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(64, 192, 5, padding=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(192, 384, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(384, 256, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(256, 256, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2),
        )
        if num_classes > 0:
            self.classifier = nn.Sequential(
                nn.Dropout(),
                nn.Linear(256 * 6 * 6, 4096),
                nn.ReLU(inplace=True),
                nn.Dropout(),
                nn.Linear(4096, 4096),
                nn.ReLU(inplace=True),
                nn.Linear(4096, num_classes),
            )

    def init_weights(self, pretrained: str | None = None) -> None:
        """Load a checkpoint; without one, torch's own initialisation stays."""
        if isinstance(pretrained, str):
            load_checkpoint(self, pretrained, strict=False, logger=logging.getLogger())
        elif pretrained is not None:
            raise TypeError(f"init_weights: pretrained must be a str or None, got {type(pretrained).__name__}")

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) to features (B, 256, h, w), or to (B, num_classes)."""
        x = self.features(x)
        return self.classifier(x.flatten(1)) if self.num_classes > 0 else x
