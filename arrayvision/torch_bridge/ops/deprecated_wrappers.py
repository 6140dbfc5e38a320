"""torch's layers under the names that older code imports from here; `arrayvision.torch_bridge.cnn` has them."""

from __future__ import annotations

import warnings

from arrayvision.torch_bridge.cnn.bricks import wrappers


def _deprecated(layer):
    """A subclass that warns where one is made."""
    name = layer.__name__

    def __init__(self, *args, **kwargs):
        layer.__init__(self, *args, **kwargs)
        text = f"{name} of the operators is deprecated: import it from cnn instead (arrayvision.torch_bridge.cnn, mmcv.cnn)"
        warnings.warn(text, DeprecationWarning, stacklevel=2)

    members = {"__init__": __init__, "__doc__": f"torch.nn.{name}.", "__module__": __name__}
    return type(f"{name}_deprecated", (layer,), members)


Conv2d_deprecated = Conv2d = _deprecated(wrappers.Conv2d)
ConvTranspose2d_deprecated = ConvTranspose2d = _deprecated(wrappers.ConvTranspose2d)
Linear_deprecated = Linear = _deprecated(wrappers.Linear)
MaxPool2d_deprecated = MaxPool2d = _deprecated(wrappers.MaxPool2d)
