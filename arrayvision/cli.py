"""The command line: `arrayvision demo | env | warmup | bench`."""

from __future__ import annotations

import argparse
import sys

from arrayvision import __version__


def parser() -> argparse.ArgumentParser:
    """What the command line takes."""
    top = argparse.ArgumentParser(
        prog="arrayvision", description="Computer-vision operators on the arrays you already have."
    )
    top.add_argument("--version", action="version", version=f"arrayvision {__version__}")
    commands = top.add_subparsers(dest="command", required=True)

    demo = commands.add_parser("demo", help="propose boxes on a photo, suppress them by class, draw those kept")
    demo.add_argument("image", nargs="?", help="a photo (default: the one in the package)")
    demo.add_argument("--out", default="demo.png", help="the picture to write (default: demo.png)")

    commands.add_parser("env", help="tell what is installed: for reports of problems")

    warmup = commands.add_parser("warmup", help="compile kernels into the cache, so that a container image starts warm")
    warmup.add_argument("names", nargs="*", help="files of kernels, nms for one (default: all)")
    warmup.add_argument(
        "--common",
        action="store_true",
        help="only what a detector's postprocessing needs, in float32: nms, roi_align ...",
    )
    warmup.add_argument("--arch", default="", help="CUDA architectures to compile for too, without a GPU: 80,90")

    bench = commands.add_parser("bench", help="time operators beside those of their peers that can be imported")
    bench.add_argument("names", nargs="*", help="cases whose names contain one of these (default: all)")
    bench.add_argument("--out", help="write the results to this file, as JSON")
    bench.add_argument("--seconds", type=float, default=2.0, help="how long to time each case, about (default: 2)")
    return top


def main(arguments: list[str] | None = None) -> int:
    """Run a command; what is wrong with its arguments becomes a line on stderr and the status 2."""
    args = parser().parse_args(arguments)
    try:
        return {"demo": _demo, "env": _env, "warmup": _warmup, "bench": _bench}[args.command](args)
    except (ValueError, OSError, ImportError) as error:
        print(f"arrayvision: {error}", file=sys.stderr)
        return 2


def _table(rows):
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"{name:{width}}  {value}")


def _demo(args):
    from arrayvision import demo

    _table(demo.run(args.image, args.out))
    return 0


def _env(args):
    from arrayvision.utils import collect_env

    _table(list(collect_env().items()))
    return 0


def _warmup(args):
    from tqdm import tqdm

    from arrayvision import cache, warmup
    from arrayvision.cpu import threads

    archs = [part.strip().removeprefix("sm_") for part in args.arch.split(",") if part.strip()]
    if not all(a.isdigit() for a in archs):
        raise ValueError(f"warmup: --arch must be numbers with commas between, like 80,90; got {args.arch!r}")
    if args.common and args.names:
        raise ValueError("warmup: --common says which kernels: name none beside it")
    names, dtypes = (warmup.COMMON, ("float32",)) if args.common else (args.names, warmup.DTYPES)
    steps = list(warmup.steps(names, [int(a) for a in archs], dtypes=dtypes))
    if not steps:
        raise ValueError("warmup: these kernels run on CUDA alone: name architectures with --arch")
    with tqdm(total=len(steps), unit="kernel") as bar:

        def done(name):
            bar.set_description(name)
            bar.update()

        warmup.run(steps, threads.get_num_threads(), done)
    folder = cache.folder()
    writable = folder is not None and cache.writable(folder)
    print(
        f"compiled kernels are in {cache.root()}" if writable else f"{cache.root()} can't be written: nothing was kept"
    )
    return 0


def _bench(args):
    from arrayvision.bench.report import report

    report(args.names, args.out, args.seconds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
