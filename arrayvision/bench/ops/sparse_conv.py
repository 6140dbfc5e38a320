"""Sparse convolution beside spconv, both on one thread (its CPU build gives wrong rows on two), and beside dense convolution."""

import contextlib
import functools

import numpy as np

from arrayvision import get_num_threads, ops, set_num_threads
from arrayvision.bench.measure import Case, peer, to_numpy
from arrayvision.cases.sparse_conv import surface
from arrayvision.cases.voxelization import STREET, scan

SHAPE = (48, 256, 256)


def close(a, b):
    """Equal up to the roundings of sums over taps and channels."""
    a, b = _rows(a), _rows(b)
    return np.abs(a - b).max() < 1e-4 * np.abs(b).max()


@contextlib.contextmanager
def threads(torch, count):
    """Ours and torch's."""
    before = get_num_threads(), torch.get_num_threads()
    set_num_threads(count)
    torch.set_num_threads(count)
    try:
        yield
    finally:
        set_num_threads(before[0])
        torch.set_num_threads(before[1])


def _rows(x):
    """Features by rising sites, which peers have in another order; or an array."""
    if not hasattr(x, "indices") or not hasattr(x, "spatial_shape"):
        return to_numpy(x)
    indices, features = to_numpy(x.indices), x.features.detach().numpy()
    return features[np.lexsort(indices.T[::-1])]


class _Kind:
    """Layers and tensors of one of the libraries, with the same weights."""

    def __init__(self, layers, tensor, **options):
        self.layers, self.tensor, self.options = layers, tensor, options

    def conv(self, name, *sizes, **options):
        return getattr(self.layers, name)(*sizes, bias=False, **options, **self.options)

    def unet(self, nn, widths=(32, 64, 96, 128)):
        """Four levels, with a skip from each."""
        levels = nn.ModuleList()
        for k, width in enumerate(widths):
            level = nn.ModuleDict()
            before = 4 if k == 0 else widths[k - 1]
            if k:
                level["down"] = self.conv("SparseConv3d", before, width, 2, 2, indice_key=f"d{k}")
                level["up"] = self.conv("SparseInverseConv3d", width, before, 2, indice_key=f"d{k}")
                level["join"] = self.conv("SubMConv3d", 2 * before, before, 3, padding=1, indice_key=f"s{k - 1}")
            level["own"] = self.conv("SubMConv3d", width if k else 4, width, 3, padding=1, indice_key=f"s{k}")
            levels.append(level)
        return levels

    def run_unet(self, torch, levels, x):
        def relu(x, *more):
            features = torch.relu(x.features)
            return x.replace_feature(torch.cat([features, *more], 1) if more else features)

        skips = []
        for k, level in enumerate(levels):
            x = relu(level["own"](relu(level["down"](x)) if k else x))
            skips.append(x)
        for k in range(len(levels) - 1, 0, -1):
            x = relu(levels[k]["join"](relu(levels[k]["up"](x), skips[k - 1].features)))
        return x

    def second(self, torch):
        """The middle encoder of SECOND: convolutions, normalizations and activations."""
        nn = torch.nn

        def block(name, *sizes, **options):
            return [self.conv(name, *sizes, **options), nn.BatchNorm1d(sizes[1], 1e-3), nn.ReLU()]

        net = block("SubMConv3d", 4, 16, 3, padding=1, indice_key="subm1")
        net += block("SubMConv3d", 16, 16, 3, padding=1, indice_key="subm1")
        for k, (given, made, padding) in enumerate([(16, 32, 1), (32, 64, 1), (64, 64, (0, 1, 1))], 2):
            net += block("SparseConv3d", given, made, 3, 2, padding, indice_key=f"d{k}")
            for _ in range(2):
                net += block("SubMConv3d", made, made, 3, padding=1, indice_key=f"subm{k}")
        net += block("SparseConv3d", 64, 128, (3, 1, 1), (2, 1, 1), 0, indice_key="out")
        return self.layers.SparseSequential(*net).eval()


def _alike(torch, ours, theirs):
    """Give our layers the peer's weights, which lie (out, kernel..., in)."""
    ours.load_state_dict({name: w.movedim(0, -1) if w.dim() == 5 else w for name, w in theirs.state_dict().items()})


def cases():
    """All cases."""
    torch, spconv = peer("torch"), peer("spconv.pytorch")
    if torch is None:
        return
    from arrayvision.torch_bridge import ops as layers

    rng = np.random.default_rng(0)
    ours = _Kind(layers, layers.SparseConvTensor)
    theirs = _Kind(spconv, spconv.SparseConvTensor, algo=peer("spconv.core").ConvAlgo.Native) if spconv else None
    sites = torch.from_numpy(surface(rng))
    x = torch.from_numpy(rng.standard_normal((len(sites), 64), np.float32))

    def called(kind, layer, found, shape=SHAPE, batch=1, features=x, indices=sites, run=None):
        def call():
            with threads(torch, 1), torch.no_grad():
                given = kind.tensor(features, indices, list(shape), batch)
                given.indice_dict = dict(found)
                return (run or layer)(given)

        return call

    for name, sizes, options in (
        ("SubMConv3d", (64, 64, 3), dict(padding=1, indice_key="a")),
        ("SparseConv3d", (64, 128, 3, 2, 1), dict(indice_key="a")),
    ):
        layer = ours.conv(name, *sizes, **options)
        given = layers.SparseConvTensor(x, sites, list(SHAPE), 1)
        layer(given)
        label = f"{name} {sizes[0]} -> {sizes[1]}, {len(sites):,} voxels, one thread"
        peers = [{}, {}]
        if theirs:
            other = theirs.conv(name, *sizes, **options)
            _alike(torch, layer, other)
            given_there = theirs.tensor(x, sites, list(SHAPE), 1)
            with threads(torch, 1), torch.no_grad():
                other(given_there)
            peers[1] = {"spconv": called(theirs, other, {})}
            if name == "SubMConv3d":  # others aren't kept there
                peers[0] = {"spconv": called(theirs, other, given_there.indice_dict)}
        yield Case(f"{label}, pairs kept", called(ours, layer, given.indice_dict), peers[0], 2, agree=close)
        yield Case(f"{label}, pairs found", called(ours, layer, {}), peers[1], 2, agree=close)

    few = torch.from_numpy(rng.standard_normal((len(sites), 4), np.float32))
    net = ours.unet(torch.nn)
    peers = {}
    if theirs:
        other = theirs.unet(torch.nn)
        _alike(torch, net, other)
        run = functools.partial(theirs.run_unet, torch, other)
        peers = {"spconv": called(theirs, None, {}, features=few, run=run)}
    run = functools.partial(ours.run_unet, torch, net)
    forward = called(ours, None, {}, features=few, run=run)
    yield Case("sparse UNet of four levels, forward, one thread", forward, peers, 2, agree=close)

    def step():
        with threads(torch, 1):
            net.zero_grad()
            out = run(layers.SparseConvTensor(few, sites, list(SHAPE), 1))
            out.features.square().mean().backward()
            return out.features

    yield Case("sparse UNet, forward and backward, one thread", step, {"forward alone": forward}, 0.25)

    clouds = [ops.voxelization(scan(60_000, rng), **STREET, max_points=5, max_voxels=40_000) for _ in range(2)]
    cells = [np.column_stack([np.full(len(found[1]), k), found[1]]) for k, found in enumerate(clouds)]
    scanned = torch.from_numpy(np.concatenate(cells).astype(np.int32))
    means = torch.from_numpy(np.concatenate([found[0].mean(1) for found in clouds]).astype(np.float32))
    net_of_points = ours.second(torch)
    peers = {}
    given = dict(shape=(41, 1600, 1408), batch=2, features=means, indices=scanned)
    if theirs:
        other = theirs.second(torch)
        _alike(torch, net_of_points, other)
        peers = {"spconv": called(theirs, other, {}, **given)}
    label = f"middle encoder of SECOND, two scans, {len(scanned):,} voxels, one thread"
    yield Case(label, called(ours, net_of_points, {}, **given), peers, 2, agree=close)

    dense_sites = torch.from_numpy(np.stack(np.nonzero(rng.random((1, 32, 32, 32)) < 0.1), 1).astype(np.int32))
    features = torch.from_numpy(rng.standard_normal((len(dense_sites), 32), np.float32))
    layer = layers.SubMConv3d(32, 32, 3, bias=False)
    tensor = layers.SparseConvTensor(features, dense_sites, [32, 32, 32], 1)
    cells, filter = tensor.dense(), layer.weight.detach().permute(4, 3, 0, 1, 2).contiguous()
    place = tuple(dense_sites.long().T)

    def dense():
        with torch.no_grad():
            return torch.nn.functional.conv3d(cells, filter, padding=1).movedim(1, -1)[place]

    def few_sites():
        with torch.no_grad():
            return layer(tensor).features

    yield Case("SubMConv3d 32 -> 32, a tenth of 32^3", few_sites, {"torch's conv3d": dense}, 1, agree=close)

    for count in (100_000, 1_000_000):
        many = np.unique(rng.integers(0, (1, 60, 3000, 3000), (count, 4), np.int32), axis=0)
        if count == 100_000:
            fewer = functools.partial(ops.sparse_conv_pairs, many, (60, 3000, 3000), 1, 3, subm=True)
    found = functools.partial(ops.sparse_conv_pairs, many, (60, 3000, 3000), 1, 3, subm=True)

    def ten():
        for _ in range(10):
            fewer()

    yield Case("sparse_conv_pairs, 1,000,000 voxels", found, {"100,000, ten times": ten}, 0.7)
