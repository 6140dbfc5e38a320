"""Compose, key mapping, broadcasting, chance, shared random parameters, tensors."""

import random
import subprocess
import sys
import textwrap
import types

import numpy as np
import pytest
import torch

from arrayvision.transforms import (
    BaseTransform,
    Compose,
    ImageToTensor,
    KeyMapper,
    Pad,
    RandomApply,
    RandomChoice,
    RandomFlip,
    ToTensor,
    TransformBroadcaster,
    avoid_cache_randomness,
    cache_random_params,
    cache_randomness,
    to_tensor,
)

MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]


class Add(BaseTransform):
    def __init__(self, addend=1):
        self.addend = addend

    def _sum(self, value):
        if isinstance(value, list):
            return [self._sum(v) for v in value]
        return {k: self._sum(v) for k, v in value.items()} if isinstance(value, dict) else value + self.addend

    def transform(self, results):
        results["value"] = self._sum(results["value"])
        return results

    def __repr__(self):
        return f"Add({self.addend})"


class AddRandom(Add):
    def __init__(self, times=1):
        self.times = times  # and no addend: its repr fails

    @cache_randomness
    def draw(self):
        return np.random.rand()  # noqa: NPY002

    def transform(self, results):
        for _ in range(self.times):
            results["value"] += self.draw()
        return results


# ---- Compose ---------------------------------------------------------------------------------------------------------
def test_compose_runs_in_order_and_stops_at_none():
    seen = []
    steps = [Add(1), lambda r: {**r, "value": r["value"] * 10}, lambda r: None, lambda r: seen.append(r)]
    assert Compose(steps[:2])({"value": 1}) == {"value": 20}
    assert Compose(steps)({"value": 1}) is None and not seen
    assert Compose(Add(2))({"value": 1}) == {"value": 3}
    assert list(Compose(steps[:1])) == steps[:1]
    assert repr(Compose([Add(1), Add(2)])) == "Compose(\n    Add(1)\n    Add(2)\n)"


def test_an_error_says_which_step():
    pipeline = Compose([Add(1), Pad(size_divisor=32), Add(3)])
    with pytest.raises(
        KeyError, match=r"Compose: step 2 of 3: Pad\(size=None, .*\): results must have 'img', got 'value'"
    ):
        pipeline({"value": 1})
    with pytest.raises(KeyError, match=r"Compose: step 1 of 3, Add\(1\): value"):
        pipeline({})
    with pytest.raises(KeyError, match=r"Compose: step 1 of 1: Compose\( Add\(4\) \)|Compose: step 1 of 1, Compose"):
        Compose([Compose([Add(4)])])({})
    with pytest.raises(FileNotFoundError, match=r"Compose: step 1 of 1, LoadImageFromFile\(.*no_such\.jpg"):
        Compose([{"type": "LoadImageFromFile"}])({"img_path": "no_such.jpg"})
    with pytest.raises(ZeroDivisionError, match=r"Compose: step 1 of 1, .*: division by zero"):
        Compose([lambda r: 1 / 0])({})


def test_an_error_in_a_config_says_which_step():
    with pytest.raises(
        KeyError, match=r"Compose: step 2 of 2, Resise: .*'Resise' is not registered; close matches: Resize"
    ):
        Compose([{"type": "RandomFlip", "prob": 0.5}, {"type": "Resise"}])
    with pytest.raises(ValueError, match=r"Compose: step 1 of 1, RandomFlip: RandomFlip: prob must be a probability"):
        Compose([{"type": "RandomFlip", "prob": 3.0}])
    with pytest.raises(TypeError, match="Compose: step 1 of 1 must be a dict or callable, got list"):
        Compose([[{"type": "RandomFlip"}]])


# ---- KeyMapper -------------------------------------------------------------------------------------------------------
def test_key_mapper_maps_there_and_back():
    mapper = KeyMapper(Add(), mapping={"value": "v_in"}, remapping={"value": "v_out"})
    assert mapper({"value": 0, "v_in": 1}) == {"value": 0, "v_in": 1, "v_out": 2}
    lists = KeyMapper(Add(2), mapping={"value": ["a", "b"]}, remapping={"value": ["c", "d"]})
    assert lists({"a": 1, "b": 2}) == {"a": 1, "b": 2, "c": 3, "d": 4}
    nested = KeyMapper(Add(2), mapping={"value": ["v1", {"v2": ["v21", "v22"], "v3": "v3"}]}, auto_remap=True)
    assert nested({"value": 0, "v1": 1, "v21": 2, "v22": 3, "v3": 4}) == {
        "value": 0,
        "v1": 3,
        "v21": 4,
        "v22": 5,
        "v3": 6,
    }
    assert KeyMapper(mapping={"b": "a"}, auto_remap=False)({"a": 1}) == {"a": 1, "b": 1}
    assert KeyMapper()({"a": 1}) == {"a": 1}


def test_key_mapper_ignores_ellipses_and_missing_keys():
    def has(results):
        return {"keys": sorted(results)}

    assert KeyMapper(has, mapping={"a": ..., "c": "b"}, auto_remap=False)({"a": 1, "b": 2})["keys"] == ["b", "c"]
    dropped = KeyMapper(Add(), mapping={"value": "a"}, remapping={"value": ...})({"a": 1})
    assert dropped == {"a": 1}
    mapping = {"x": "a", "y": "nowhere"}
    assert KeyMapper(has, mapping, auto_remap=False, allow_nonexist_keys=True)({"a": 1})["keys"] == ["a", "x"]
    assert KeyMapper(has, mapping, auto_remap=False)({"a": 1})["keys"] == ["a", "x", "y"]


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: KeyMapper(Add(), {"value": "a"}, {"value": "b"}, auto_remap=True),
            ValueError,
            "remapping must be None",
        ),
        (lambda: KeyMapper(lambda r: None)({}), ValueError, "transforms wrapped by KeyMapper must not return None"),
        (lambda: KeyMapper(Add(), {"value": "a"}, {"other": "b"})({"a": 1}), KeyError, "results must have 'other'"),
        (
            lambda: KeyMapper(Add(), {"value": "a"}, {"value": ["b"]})({"a": 1}),
            TypeError,
            "value must be a list, as in",
        ),
        (lambda: KeyMapper(Add(), {"value": ["a"]}, {"value": ["b", "c"]})({"a": 1}), ValueError, "must have 2 items"),
    ],
)
def test_key_mapper_refuses(make, error, message):
    with pytest.raises(error, match=message):
        make()


# ---- TransformBroadcaster --------------------------------------------------------------------------------------------
def test_broadcaster_applies_to_each_target():
    assert TransformBroadcaster(Add(), {"value": "vs"}, auto_remap=True)({"vs": [1, 2]}) == {"vs": [2, 3]}
    assert TransformBroadcaster(Add(), {"value": ["a", "b"]})({"a": 1, "b": 5}) == {"a": 2, "b": 6}

    def total(results):
        return {**results, "sum": results["x"] + results["y"]}

    pairs = TransformBroadcaster(total, {"x": ["a1", "b1"], "y": ["a2", "b2"]}, {"sum": ["a", "b"]}, auto_remap=False)
    results = pairs({"a1": 1, "a2": 2, "b1": 3, "b2": 4})
    assert (results["a"], results["b"]) == (3, 7)
    assert TransformBroadcaster(Add())({"value": [1, 2], "other": [3, 4]}) == {"value": [2, 3], "other": [3, 4]}
    with pytest.raises(ValueError, match=r"sequences must have one length, got \{'x': 2, 'y': 3\}"):
        TransformBroadcaster(total, {"x": "a", "y": "b"}, auto_remap=False)({"a": [1, 2], "b": [1, 2, 3]})
    with pytest.raises(ValueError, match="there must be targets, got none"):
        TransformBroadcaster(Add(), {"value": "vs"})({"vs": []})
    with pytest.raises(TypeError, match="value must be a sequence, got int"):
        TransformBroadcaster(Add(), {"value": "vs"})({"vs": 3})


def test_broadcaster_shares_random_parameters_on_request():
    np.random.seed(0)  # noqa: NPY002
    for wrapped in (AddRandom(), RandomApply(Add()), RandomChoice([[Add(1)], [Add(2)]]), Compose([AddRandom()])):
        shared = TransformBroadcaster([wrapped], {"value": "vs"}, share_random_params=True)
        for _ in range(5):
            values = shared({"vs": [0] * 10})["vs"]
            assert values == [values[0]] * 10
        alone = TransformBroadcaster([wrapped], {"value": "vs"})
        assert len({v for _ in range(5) for v in alone({"vs": [0] * 10})["vs"]}) > 1
    draws = {tuple(shared({"vs": [0, 0]})["vs"]) for _ in range(5)}
    assert len(draws) > 1  # anew for each sample


# ---- shared random parameters ----------------------------------------------------------------------------------------
def test_cache_random_params():
    transform = AddRandom()
    assert AddRandom._methods_with_randomness == ["draw"] and transform.draw.__name__ == "draw"
    with cache_random_params(transform):
        assert transform({"value": 0}) == transform({"value": 0})
        with cache_random_params([Compose(transform)]):
            inner = transform({"value": 0})
            assert inner == transform({"value": 0})
        assert transform({"value": 0}) != inner
    assert transform({"value": 0}) != transform({"value": 0})
    assert vars(transform) == {"times": 1}
    with cache_random_params(AddRandom(0)) as nothing:
        assert nothing is None
    with cache_random_params(transform):  # asked for outside a sample, any number of times
        assert len({transform.draw() for _ in range(3)}) == 1
    twice = AddRandom(2)
    with (
        cache_random_params(twice),
        pytest.raises(RuntimeError, match="AddRandom: draw, marked by cache_randomness, must be called at"),
    ):
        twice({"value": 0})
    assert vars(twice) == {"times": 2}


def test_an_overriding_method_may_call_the_one_it_overrides():
    class More(AddRandom):
        @cache_randomness
        def draw(self):
            return 10 + super().draw()

    transform = More()
    with cache_random_params(transform):
        first = transform({"value": 0})
        assert 10 <= first["value"] < 11 and transform({"value": 0}) == first


def test_a_parameter_whose_drawing_failed_is_drawn_anew():
    class Once(AddRandom):
        @cache_randomness
        def draw(self):
            if not failed:
                failed.append(True)
                raise OSError("once")
            return 5

    failed, transform = [], Once()
    with cache_random_params(transform):
        with pytest.raises(OSError, match="once"):
            transform({"value": 0})
        assert transform({"value": 0}) == {"value": 5}


def test_marks():
    class Both(AddRandom):
        @cache_randomness
        def more(self):
            return random.random()

    assert Both._methods_with_randomness == ["draw", "more"] and AddRandom._methods_with_randomness == ["draw"]
    with pytest.raises(TypeError, match="func must be a function, got staticmethod"):
        cache_randomness(staticmethod(lambda: 0))
    with pytest.raises(TypeError, match="func must be a method, whose first argument is self"):
        cache_randomness(lambda cls: 0)

    @avoid_cache_randomness
    class Own(Add):
        pass

    class Child(Own):
        pass

    with (
        pytest.raises(RuntimeError, match=r"Add\(1\): its class is marked by avoid_cache_randomness"),
        cache_random_params(Own()),
    ):
        pass
    with cache_random_params(Child()):
        pass
    with pytest.raises(RuntimeError, match="its class is marked"):
        TransformBroadcaster([Own()], {"value": "vs"}, share_random_params=True)({"vs": [1, 2]})
    with pytest.raises(RuntimeError, match="AddRandom must not have methods marked by cache_randomness"):
        avoid_cache_randomness(AddRandom)
    with pytest.raises(TypeError, match="cls must be a transform class"):
        avoid_cache_randomness(dict)


# ---- chance ----------------------------------------------------------------------------------------------------------
def test_random_choice_and_apply():
    np.random.seed(0)  # noqa: NPY002
    assert RandomChoice([[Add(1)], [Add(2)]], prob=[0.0, 1.0])({"value": 1})["value"] == 3
    drawn = [RandomChoice([Add(1), Add(2), Add(3)], [0.5, 0.25, 0.25])({"value": 0})["value"] for _ in range(2000)]
    assert abs(drawn.count(1) / 2000 - 0.5) < 4 * np.sqrt(0.25 / 2000)
    assert RandomApply(Add(1), 1.0)({"value": 1})["value"] == 2 and RandomApply(Add(1), 0.0)({"value": 1})["value"] == 1
    assert RandomChoice([Add(1), Add(2)], [0.1 + 0.2, 0.7]).prob == [0.1 + 0.2, 0.7]  # sums to 1 but for rounding
    with pytest.raises(ValueError, match=r"prob must sum to 1, got \[0.5, 0.6\] with sum 1.1"):
        RandomChoice([Add(), Add()], [0.5, 0.6])
    with pytest.raises(ValueError, match="prob must have as many values as transforms, got 1 and 2"):
        RandomChoice([Add(), Add()], [1.0])
    with pytest.raises(ValueError, match="prob must be a probability"):
        RandomApply(Add(), 2)
    assert repr(RandomChoice([Add()])) == "RandomChoice(transforms = [Compose(\n    Add(1)\n)]prob = None)"


# ---- tensors ---------------------------------------------------------------------------------------------------------
def test_to_tensor():
    array = np.arange(3.0)
    assert to_tensor(array).data_ptr() == array.ctypes.data
    tensor = torch.ones(2)
    assert to_tensor(tensor) is tensor
    assert to_tensor(3).tolist() == [3] and to_tensor(3).dtype == torch.int64
    assert to_tensor(0.5).tolist() == [0.5] and to_tensor(0.5).dtype == torch.float32
    assert to_tensor([[1, 2]]).tolist() == [[1, 2]] and to_tensor((1.5, 2)).dtype == torch.float32
    assert to_tensor(array[::-1]).tolist() == [2, 1, 0] and to_tensor(array.astype(">f8")).tolist() == [0, 1, 2]
    assert to_tensor(np.ones((1, 1))[::-1, ::-1]).tolist() == [[1]]  # contiguous for NumPy
    for wrong in ("abc", None, {}):
        with pytest.raises(TypeError, match="data must be a tensor, an array, a sequence, an int or a float"):
            to_tensor(wrong)


def test_keys_to_tensors():
    results = ToTensor(["a.b", "c"])({"a": {"b": [1]}, "c": 2})
    assert isinstance(results["a"]["b"], torch.Tensor) and isinstance(results["c"], torch.Tensor)
    record = types.SimpleNamespace(b=[1])
    like_dict = type("LikeDict", (), {"__contains__": lambda _, k: hasattr(record, k)})
    like_dict.__getitem__ = lambda _, k: getattr(record, k)
    like_dict.__setitem__ = lambda _, k, v: setattr(record, k, v)
    ToTensor(["a.b"])({"a": like_dict()})
    assert record.b.tolist() == [1]
    for sample in ({"a": {}}, {"a": 3}, {"a": [1]}, {}):
        with pytest.raises(KeyError, match=r"ToTensor\(keys=\['a.b'\]\): results must have 'a.b'"):
            ToTensor(["a.b"])(sample)
    img = np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8)
    tensor = ImageToTensor(["img"])({"img": img[:, ::-1]})["img"]
    assert tensor.is_contiguous() and np.array_equal(tensor.numpy(), img[:, ::-1].transpose(2, 0, 1))
    assert ImageToTensor(["img"])({"img": img[..., 0]})["img"].shape == (1, 4, 5)
    assert ImageToTensor(["img"])({"img": torch.zeros(4, 5, 3)})["img"].shape == (3, 4, 5)
    with pytest.raises(ValueError, match=r"img must have shape \(H, W\) or \(H, W, C\), got \(2,\)"):
        ImageToTensor(["img"])({"img": np.zeros(2)})


# ---- processes -------------------------------------------------------------------------------------------------------
LOADER = """
    import sys
    import numpy as np
    import torch
    from arrayvision.transforms import Compose

    steps = Compose([
        dict(type="RandomResize", scale=(64, 48), ratio_range=(0.5, 1.5), keep_ratio=True),
        dict(type="RandomFlip", prob=0.5, direction=["horizontal", "vertical"]),
        dict(type="RandomGrayscale", prob=0.5, keep_channels=True),
        dict(type="Normalize", mean=[1, 2, 3], std=[4, 5, 6]),
        dict(type="Pad", size_divisor=16),
        dict(type="ImageToTensor", keys=["img"]),
    ])

    class Data(torch.utils.data.Dataset):
        def __len__(self):
            return 24

        def __getitem__(self, i):
            img = np.random.default_rng(i).integers(0, 256, (40, 60, 3), np.uint8)
            return steps(dict(img=img, gt_bboxes=np.array([[1, 2, 30, 40]], np.float32)))

    def run(workers):
        torch.manual_seed(7)
        np.random.seed(7)
        loader = torch.utils.data.DataLoader(Data(), batch_size=None, num_workers=workers)
        return [(r["img"], r["gt_bboxes"], r["flip_direction"]) for r in loader]

    first, second = run(4), run(4)
    assert len(first) == 24
    for a, b in zip(first, second):
        assert torch.equal(a[0], b[0]) and torch.equal(torch.as_tensor(a[1]), torch.as_tensor(b[1])) and a[2] == b[2]
    assert len({a[0].shape for a in first}) > 3 and len({a[2] for a in first}) == 3
    in_process = run(0)
    assert len(in_process) == 24
"""


@pytest.mark.alone
def test_a_seeded_loader_gives_the_same_in_four_workers():
    subprocess.run([sys.executable, "-c", textwrap.dedent(LOADER)], check=True, timeout=300)


def test_importing_needs_neither_torch_nor_opencv_nor_numba():
    code = (
        "import sys, arrayvision.transforms; "
        "assert not {'torch', 'cv2', 'numba', 'mmengine'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_flip_by_config_and_by_object_agree():
    img = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    built = Compose([{"type": "RandomFlip", "prob": 1.0}])({"img": img})["img"]
    assert np.array_equal(built, RandomFlip(1.0)({"img": img})["img"])


def test_a_misspelt_argument_and_a_bare_image():
    with pytest.raises(TypeError, match=r"keep_ration.*\(did you mean keep_ratio\?\)"):
        Compose([dict(type="Resize", scale=(4, 2), keep_ration=True)])
    with pytest.raises(TypeError, match=r"results must be a dict, such as dict\(img=image\), got ndarray"):
        Compose([])(np.zeros((2, 2, 3), np.uint8))
