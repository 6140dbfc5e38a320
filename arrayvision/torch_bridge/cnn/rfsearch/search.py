"""The hook that wraps a model's convolutions, and estimates and expands their dilations while training."""

from __future__ import annotations

import json
import os

from torch import nn

from arrayvision.errors import require
from arrayvision.torch_bridge.cnn.rfsearch.operator import BaseConvRFSearchOp, Conv2dRFSearchOp, logger
from arrayvision.torch_bridge.cnn.rfsearch.utils import get_single_padding, write_to_json

try:  # a runner of mmengine takes its own hooks only
    from mmengine.hooks import Hook
    from mmengine.registry import HOOKS
except ImportError:
    Hook = object
    HOOKS = None


class RFSearchHook(Hook):
    """Search for the dilations of a model's convolutions: RF-Next.

    Parameters
    ----------
    mode : {"search", "fixed_single_branch", "fixed_multi_branch"}
        Search; or set the dilations found, in plain convolutions or again in several branches.
    config : dict
        `search`: step, max_step, search_interval, exp_rate, init_alphas, mmin, mmax, num_branches, skip_layer.
    rfstructure_file : str, optional
        A JSON file with the dilations found earlier.
    by_epoch : bool
        Count steps in epochs, or in iterations.
    verbose : bool
        Log what is wrapped and found.
    """

    def __init__(
        self,
        mode: str = "search",
        config: dict = {},  # noqa: B006  (the search writes its progress into the caller's)
        rfstructure_file: str | None = None,
        by_epoch: bool = True,
        verbose: bool = True,
    ):
        modes = ("search", "fixed_single_branch", "fixed_multi_branch")
        require(mode in modes, f"RFSearchHook: mode must be one of {', '.join(modes)}, got {mode!r}")
        require(config is not None, "RFSearchHook: config must be a dict, got None")
        self.config = config
        self.config["structure"] = {}
        self.verbose = verbose
        if rfstructure_file is not None:
            with open(rfstructure_file, encoding="utf-8") as file:
                self.config["structure"] = json.load(file)["structure"]
        self.mode = mode
        self.num_branches = self.config["search"]["num_branches"]
        self.by_epoch = by_epoch

    def _log(self, message, *args):
        if self.verbose:
            logger.info(message, *args)

    def init_model(self, model: nn.Module) -> None:
        """Set the dilations known, and wrap convolutions where branches are wanted."""
        self._log("RFSearch init begin.")
        if self.mode != "search" or self.config["structure"]:
            self.set_model(model, search_op="Conv2d")
        if self.mode != "fixed_single_branch":
            self.wrap_model(model, search_op="Conv2d")
        self._log("RFSearch init end.")

    def after_train_epoch(self, runner) -> None:
        """A step, if steps are epochs."""
        if self.by_epoch and self.mode == "search":
            self.step(runner.model, runner.work_dir)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        """A step, if steps are iterations."""
        if not self.by_epoch and self.mode == "search":
            self.step(runner.model, runner.work_dir)

    def step(self, model: nn.Module, work_dir: str) -> None:
        """Count; every `search_interval` steps before `max_step`, estimate, expand and write what was found."""
        search = self.config["search"]
        search["step"] += 1
        if search["step"] % search["search_interval"] == 0 and search["step"] < search["max_step"]:
            self.estimate_and_expand(model)
            for name, module in model.named_modules():
                if isinstance(module, BaseConvRFSearchOp):
                    self.config["structure"][name] = module.op_layer.dilation
            write_to_json(self.config, os.path.join(work_dir, f"local_search_config_step{search['step']}.json"))

    def estimate_and_expand(self, model: nn.Module) -> None:
        """Take each convolution's best dilation, and try others around it."""
        for module in model.modules():
            if isinstance(module, BaseConvRFSearchOp):
                module.estimate_rates()
                module.expand_rates()

    def _convs(self, model, prefix):
        """(parent, name, full name, convolution) of those with an odd kernel above 1 that are not skipped."""
        skipped = self.config["search"]["skip_layer"] or ()
        for name, module in model.named_children():
            full = f"{prefix or 'module'}.{name}"
            if any(layer in full for layer in skipped):
                continue
            if isinstance(module, nn.Conv2d):
                if any(size > 1 and size % 2 for size in module.kernel_size):
                    yield model, name, full, module
            elif not isinstance(module, BaseConvRFSearchOp):
                yield from self._convs(module, full)

    def wrap_model(self, model: nn.Module, search_op: str = "Conv2d", prefix: str = "") -> None:
        """Replace convolutions by search operators."""
        require(search_op == "Conv2d", f"RFSearchHook: search_op must be 'Conv2d', got {search_op!r}")
        for parent, name, _, conv in list(self._convs(model, prefix)):
            wrapped = Conv2dRFSearchOp(conv, self.config["search"], self.verbose).to(conv.weight.device)
            self._log("Wrap model %s to %s.", conv, wrapped)
            setattr(parent, name, wrapped)

    def set_model(
        self, model: nn.Module, search_op: str = "Conv2d", init_rates: int | None = None, prefix: str = ""
    ) -> None:
        """Set convolutions' dilations, and the padding that keeps the size, to those in the structure."""
        require(search_op == "Conv2d", f"RFSearchHook: search_op must be 'Conv2d', got {search_op!r}")
        structure = self.config["structure"]
        for _, _, full, conv in self._convs(model, prefix):
            if isinstance(structure[full], int):
                structure[full] = [structure[full], structure[full]]
            conv.dilation = tuple(structure[full])
            conv.padding = tuple(
                get_single_padding(k, s, d)
                for k, s, d in zip(conv.kernel_size, conv.stride, conv.dilation, strict=True)
            )
            self._log("Set module %s dilation as: %s", full, list(conv.dilation))


if HOOKS is not None:
    HOOKS.register_module(module=RFSearchHook, force=True)
