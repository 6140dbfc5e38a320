"""Transforms of transforms: in a row, on other keys, on several targets, by chance."""

from __future__ import annotations

import math
from collections.abc import Callable, MutableMapping, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np

from arrayvision.errors import InvalidKind, InvalidValue, MissingKey, require
from arrayvision.registry import TRANSFORMS
from arrayvision.transforms._deferred import defer, settle
from arrayvision.transforms.base import BaseTransform, expect, named
from arrayvision.transforms.utils import cache_random_params, cache_randomness

Transform = dict | Callable[[dict], dict]


def _explain(error: Exception, where: str) -> None:
    """Put where it happened in front of an error's message."""
    if isinstance(error, OSError) and isinstance(error.strerror, str):
        error.strerror = f"{where}: {error.strerror}"
    elif error.args and isinstance(error.args[0], str):
        error.args = (f"{where}: {error.args[0]}", *error.args[1:])
    elif not error.args:
        error.args = (where,)


def _chance(function: str, argument: str, value) -> float:
    try:
        good = 0.0 <= value <= 1.0
    except (TypeError, ValueError):
        good = False
    require(good, f"{function}: {argument} must be a probability in [0, 1], got {value!r}")
    return value


@TRANSFORMS.register_module()
class Compose(BaseTransform):
    """Transforms one after another; the first that gives None ends it, with None.

    Parameters
    ----------
    transforms : dict, callable, or sequence of them
        A dict is built: ``dict(type="Resize", scale=(1333, 800))``.

    Notes
    -----
    `Resize`, `RandomFlip`, `Normalize`, `Pad` and `ImageToTensor(keys=["img"])` in a row (the first two may be missing) are
    computed in one pass for 8-bit color images; the results are the same, to the bit.

    Examples
    --------
    >>> steps = [dict(type="Resize", scale=(4, 2)), dict(type="Pad", size_divisor=8)]
    >>> Compose(steps)(dict(img=np.zeros((4, 8, 3), np.uint8)))["img"].shape
    (8, 8, 3)
    """

    def __init__(self, transforms: Transform | Sequence[Transform]):
        if not isinstance(transforms, Sequence) or isinstance(transforms, str):
            transforms = [transforms]  # type: ignore[list-item]
        self.transforms: list[Any] = []
        for i, transform in enumerate(transforms):
            if isinstance(transform, dict):
                try:
                    transform = TRANSFORMS.build(transform)
                except Exception as error:
                    _explain(error, f"Compose: step {i + 1} of {len(transforms)}, {transform.get('type')}")
                    raise
            elif not callable(transform):
                raise TypeError(
                    f"Compose: step {i + 1} of {len(transforms)} must be a dict or callable, got {type(transform).__name__}"
                )
            self.transforms.append(transform)

    def __iter__(self):
        return iter(self.transforms)

    def transform(self, results: dict) -> dict | None:
        """Apply all, in order."""
        if not isinstance(results, MutableMapping):
            raise InvalidKind(f"Compose: results must be a dict, such as dict(img=image), got {type(results).__name__}")
        steps = self.transforms
        for i, step in enumerate(steps):
            try:
                defer(results, steps, i)
                results = step(results)
            except Exception as error:
                settle(results)
                text = str(error)
                where = f"Compose: step {i + 1} of {len(steps)}"
                name = named(step)
                _explain(error, where if name in text else f"{where}, {name}")
                raise
            if results is None:
                return None
        return results

    def __repr__(self) -> str:
        return f"{type(self).__name__}(" + "".join(f"\n    {t}" for t in self.transforms) + "\n)"


class _Ignored:
    def __repr__(self) -> str:
        return "..."


IgnoreKey = _Ignored()  # stands for a key that is not handed to transforms


@TRANSFORMS.register_module()
class KeyMapper(BaseTransform):
    """Apply transforms to a sample under other keys.

    Parameters
    ----------
    transforms : dict, callable, or list of them, optional
    mapping : dict, optional
        From the transforms' keys to the sample's. A value may be a key, a list or dict of them (also nested), which
        collects several, or ``...``, which hides the key from the transforms.
    remapping : dict, optional
        From the transforms' keys to those that results are put back under, of the same form; ``...`` drops a result.
    auto_remap : bool, optional
        Put results back by `mapping`. By default, where there is no `remapping`.
    allow_nonexist_keys : bool
        Leave out keys that the sample has not; else the transforms see None for them.

    Examples
    --------
    >>> def add_one(results):
    ...     return {**results, "value": results["value"] + 1}
    >>> KeyMapper(add_one, mapping=dict(value="a"), remapping=dict(value="b"))(dict(a=1))
    {'a': 1, 'b': 2}
    """

    def __init__(
        self,
        transforms: Transform | list[Transform] | None = None,
        mapping: dict | None = None,
        remapping: dict | None = None,
        auto_remap: bool | None = None,
        allow_nonexist_keys: bool = False,
    ):
        self.allow_nonexist_keys = allow_nonexist_keys
        self.mapping = mapping
        self.auto_remap = remapping is None if auto_remap is None else auto_remap
        if self.auto_remap and remapping is not None:
            raise ValueError(f"{type(self).__name__}: remapping must be None if auto_remap is set, got {remapping}")
        self.remapping = mapping if self.auto_remap else remapping
        self.transforms = Compose([] if transforms is None else transforms)

    def __iter__(self):
        return iter(self.transforms)

    def _map_input(self, data: dict, mapping: dict | None) -> dict[str, Any]:
        """The sample with the transforms' keys."""
        if mapping is None:
            return data.copy()

        def collect(m):
            if isinstance(m, dict):
                return {key: collect(part) for key, part in m.items()}
            if isinstance(m, (tuple, list)):
                return type(m)([collect(part) for part in m])
            if m is ...:
                return IgnoreKey
            return data.get(m, IgnoreKey if self.allow_nonexist_keys else None)

        return {**data, **collect(mapping)}

    def _map_output(self, data: dict, remapping: dict | None) -> dict[str, Any]:
        """Results under the sample's keys."""
        if remapping is None:
            return {key: value for key, value in data.items() if value is not IgnoreKey}
        found: dict[str, Any] = {}

        def spread(value, m, key):
            if isinstance(m, dict):
                expect(
                    self,
                    isinstance(value, dict),
                    f"{key} must be a dict, as in remapping, got {type(value).__name__}",
                    InvalidKind,
                )
                for name, part in m.items():
                    expect(self, name in value, f"results must have {name!r}", MissingKey)
                    spread(value[name], part, name)
            elif isinstance(m, (list, tuple)):
                expect(
                    self,
                    isinstance(value, (list, tuple)),
                    f"{key} must be a list, as in remapping, got {type(value).__name__}",
                    InvalidKind,
                )
                expect(
                    self,
                    len(value) == len(m),
                    f"{key} must have {len(m)} items, as in remapping, got {len(value)}",
                )
                for part_value, part in zip(value, m, strict=True):
                    spread(part_value, part, key)
            elif m is not ... and value is not IgnoreKey:
                found[m] = value

        spread(data, remapping, "the result")
        return found

    def _apply_transforms(self, inputs: dict) -> dict:
        outputs = self.transforms({key: value for key, value in inputs.items() if value is not IgnoreKey})
        if outputs is None:
            raise ValueError(f"{named(self)}: transforms wrapped by {type(self).__name__} must not return None")
        return {**inputs, **outputs}

    def transform(self, results: dict) -> dict:
        """Map, apply, map back."""
        outputs = self._apply_transforms(self._map_input(results, self.mapping))
        results.update(self._map_output(outputs, self.remapping))
        return results

    def _arguments(self):
        return (
            f"transforms = {self.transforms}, mapping = {self.mapping}, remapping = {self.remapping}, "
            f"auto_remap = {self.auto_remap}, allow_nonexist_keys = {self.allow_nonexist_keys}"
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._arguments()})"


@TRANSFORMS.register_module()
class TransformBroadcaster(KeyMapper):
    """Apply transforms to each of several targets: to the items of lists in the sample, or to several keys.

    Parameters
    ----------
    transforms, mapping, remapping, auto_remap, allow_nonexist_keys
        As for `KeyMapper`. What `mapping` collects for each key (all keys, without one) must be a sequence, as long for
        all.
    share_random_params : bool
        Draw random parameters once, for all targets.

    Examples
    --------
    >>> def add_one(results):
    ...     return {**results, "value": results["value"] + 1}
    >>> TransformBroadcaster(add_one, mapping=dict(value=["a", "b"]))(dict(a=1, b=5))
    {'a': 2, 'b': 6}
    """

    def __init__(
        self,
        transforms: list[dict | Callable[[dict], dict]],
        mapping: dict | None = None,
        remapping: dict | None = None,
        auto_remap: bool | None = None,
        allow_nonexist_keys: bool = False,
        share_random_params: bool = False,
    ):
        super().__init__(transforms, mapping, remapping, auto_remap, allow_nonexist_keys)
        self.share_random_params = share_random_params

    def scatter_sequence(self, data: dict) -> list[dict]:
        """One sample for each target."""
        keys = list(self.mapping or data)
        lengths = {}
        for key in keys:
            value = data[key]
            expect(
                self,
                isinstance(value, Sequence) and not isinstance(value, str),
                f"{key} must be a sequence, got {type(value).__name__}",
                InvalidKind,
            )
            lengths[key] = len(value)
        if len(set(lengths.values())) > 1:
            raise ValueError(f"{named(self)}: sequences must have one length, got {lengths}")
        count = next(iter(lengths.values()), 0)
        expect(self, count > 0, "there must be targets, got none")
        return [{**data, **{key: data[key][i] for key in keys}} for i in range(count)]

    def transform(self, results: dict) -> dict:
        """Map, apply to each target, map back."""
        targets = self.scatter_sequence(self._map_input(results, self.mapping))
        with cache_random_params(self.transforms) if self.share_random_params else nullcontext():
            outputs = [self._apply_transforms(target) for target in targets]
        gathered = {key: [output[key] for output in outputs] for key in outputs[0]}
        results.update(self._map_output(gathered, self.remapping))
        return results

    def _arguments(self):
        return f"{super()._arguments()}, share_random_params = {self.share_random_params}"


@TRANSFORMS.register_module()
class RandomChoice(BaseTransform):
    """Apply one of several pipelines, chosen by chance.

    Parameters
    ----------
    transforms : list of (dict, callable, or list of them)
        The pipelines.
    prob : list of float, optional
        Their probabilities, which sum to 1; alike by default.
    """

    def __init__(self, transforms: list[Transform | list[Transform]], prob: list[float] | None = None):
        if prob is not None:
            require(
                isinstance(prob, Sequence) and not isinstance(prob, str),
                f"RandomChoice: prob must be a list of floats, got {prob!r}",
                InvalidKind,
            )
            for p in prob:
                _chance("RandomChoice", "prob", p)
            require(
                len(transforms) == len(prob),
                f"RandomChoice: prob must have as many values as transforms, got {len(prob)} and {len(transforms)}",
            )
            require(
                math.isclose(sum(prob), 1, abs_tol=1e-8),
                f"RandomChoice: prob must sum to 1, got {list(prob)} with sum {sum(prob):g}",
            )
        require(len(transforms) > 0, "RandomChoice: transforms must have a pipeline, got none")
        self.prob = prob
        self.transforms = [Compose(pipeline) for pipeline in transforms]

    def __iter__(self):
        return iter(self.transforms)

    @cache_randomness
    def random_pipeline_index(self) -> int:
        """Which pipeline."""
        return np.random.choice(np.arange(len(self.transforms)), p=self.prob)  # noqa: NPY002  (users seed this one)

    def transform(self, results: dict) -> dict | None:
        """Apply the pipeline chosen."""
        return self.transforms[self.random_pipeline_index()](results)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(transforms = {self.transforms}prob = {self.prob})"


@TRANSFORMS.register_module()
class RandomApply(BaseTransform):
    """Apply transforms with a probability.

    Parameters
    ----------
    transforms : dict, callable, or list of them
    prob : float
        The probability.
    """

    def __init__(self, transforms: Transform | list[Transform], prob: float = 0.5):
        self.prob = _chance("RandomApply", "prob", prob)
        self.transforms = Compose(transforms)

    def __iter__(self):
        return iter(self.transforms)

    @cache_randomness
    def random_apply(self) -> bool:
        """Whether to."""
        return np.random.rand() < self.prob  # noqa: NPY002  (users seed this one)

    def transform(self, results: dict) -> dict | None:
        """Apply them, or not."""
        return self.transforms(results) if self.random_apply() else results

    def __repr__(self) -> str:
        return f"{type(self).__name__}(transforms = {self.transforms}, prob = {self.prob})"


__all__ = ["Compose", "IgnoreKey", "InvalidValue", "KeyMapper", "RandomApply", "RandomChoice", "TransformBroadcaster"]
