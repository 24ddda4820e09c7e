"""Seconds of this crate's CPU strategy against those of pgeof and jakteristics (scripts/compare-speed).

Each round runs one after the other, so that whatever else the machine does meets all; only the ratios of a round count.
All take points that are in memory already: this crate the file's integer records, through its `bench` command, which also
checks a sample of its answers; the packages floats, f32 for pgeof, made before the clock starts. All use as many threads.
"""

import argparse
import json
import os
import subprocess
import time
from pathlib import Path

import jakteristics
import laspy
import numpy as np
import pgeof
from scipy.spatial import cKDTree

# What pgeof's compute_features gives.
PGEOF = "linearity,planarity,sphericity,verticality_unary,normals,length,surface,volume,surface_variation"
JAKTERISTICS = {
    "linearity": "linearity",
    "planarity": "planarity",
    "sphericity": "sphericity",
    "verticality": "verticality",
    "normal_x": "nx",
    "normal_y": "ny",
    "normal_z": "nz",
    "eigenvalue_sum": "eigenvalue_sum",
    "omnivariance": "omnivariance",
    "anisotropy": "anisotropy",
    "surface_variation": "surface_variation",
}


def ours(args, path, features, rule):
    """The median of three runs in a process: the peers run in one that goes on, and are warm from the second round."""
    command = [args.command, "bench", "--input", path, "--backend", "cpu", "--features", features, "--repeat", "3", "--json"]
    environment = dict(os.environ, RAYON_NUM_THREADS=str(args.threads))
    out = subprocess.run(command + rule, check=True, capture_output=True, env=environment).stdout
    return sorted(json.loads(out)["all_seconds"])[1]


def pgeof_knn(points, k):
    """The package's own pipeline: nanoflann's neighbours, then eleven features."""
    start = time.perf_counter()
    neighbors, _ = pgeof.knn_search(points, points, k)
    pointers = np.arange(0, len(points) * k + 1, k, dtype=np.uint32)
    pgeof.compute_features(points, neighbors.reshape(-1), pointers, 1, False)
    return time.perf_counter() - start


def jakteristics_radius(points, radius, threads):
    start = time.perf_counter()
    jakteristics.compute_features(
        points, radius, num_threads=threads, feature_names=list(JAKTERISTICS.values())
    )
    return time.perf_counter() - start


def radius_for(points, members):
    """A radius that holds so many points on average."""
    tree = cKDTree(points)
    sample = points[np.random.default_rng(1).choice(len(points), min(4000, len(points)), replace=False)]
    low, high = 0.0, float(np.ptp(points, axis=0).max())
    for _ in range(30):
        middle = (low + high) / 2
        # A wide ball first: counting stops at what is surely too many.
        far = tree.query(sample, [8 * members])[0][:, 0] < middle
        many = far.mean() > 0.5 or tree.query_ball_point(sample, middle, return_length=True).mean() > members
        low, high = (low, middle) if many else (middle, high)
    return round(high, 3)


def table(title, peer, rounds):
    ratios = [theirs / own for own, theirs in rounds]
    print(f"\n{title}\n\n| round | lidar-features, s | {peer}, s | ratio |\n|---|---|---|---|")
    for i, (own, theirs) in enumerate(rounds):
        print(f"| {i + 1} | {own:.3f} | {theirs:.3f} | {theirs / own:.2f} |")
    own, theirs = np.median(np.array(rounds), axis=0)
    print(f"| median | {own:.3f} | {theirs:.3f} | **{np.median(ratios):.2f}** |")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", metavar="FILE")
    parser.add_argument("--command", required=True, help="the lidar-features executable")
    parser.add_argument("--knn", type=int, default=20)
    parser.add_argument("--members", type=int, default=20, help="of a radius, on average")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    # pgeof takes as many threads as it may run on.
    os.sched_setaffinity(0, set(list(os.sched_getaffinity(0))[: args.threads]))
    for path in args.files:
        las = laspy.read(path)
        points = np.ascontiguousarray(np.stack([las.x, las.y, las.z], axis=1))
        points -= points.min(axis=0)
        single = points.astype(np.float32)
        radius = radius_for(points, args.members)
        knn, within = [], []
        for _ in range(args.rounds):
            own = ours(args, path, PGEOF, ["--knn", str(args.knn)])
            knn.append((own, pgeof_knn(single, args.knn)))
            own = ours(args, path, ",".join(JAKTERISTICS), ["--radius", str(radius)])
            within.append((own, jakteristics_radius(points, radius, args.threads)))
        name = f"{Path(path).name}, {len(points)} points, {args.threads} threads"
        table(f"{name}: {args.knn} nearest, eleven features", "pgeof 0.3.4", knn)
        table(f"{name}: within {radius}, eleven features", "jakteristics 0.6.2", within)


if __name__ == "__main__":
    main()
