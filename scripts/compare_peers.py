"""Largest differences between this crate's profiles and the packages that they imitate (scripts/compare-peers).

Neighbourhoods are the same on both sides: k nearest by (squared distance, index) in the file's integer
coordinates, or all points within a radius whose square lies between two integers, so that no rounding decides.
Both sides are compared with formulas in f64 (NumPy's eigh on exact covariances) as well, which tells whose
rounding a difference is.
"""

import argparse
import subprocess
import tempfile
from pathlib import Path

import jakteristics
import laspy
import numpy as np
import pgeof
from scipy.spatial import cKDTree

FEW, IDENTICAL, COLLINEAR = 1, 2, 4
SHARP = 1e-3
PGEOF = {
    "linearity": "Linearity",
    "planarity": "Planarity",
    "sphericity": "Scattering",
    "verticality_unary": "VerticalityPGEOF",
    "normal_x": "Normal_x",
    "normal_y": "Normal_y",
    "normal_z": "Normal_z",
    "length": "Length",
    "surface": "Surface",
    "volume": "Volume",
    "surface_variation": "Curvature",
    # Not in compute_features, whose columns stand in the order above.
    "verticality": "Verticality",
    "eigenentropy": "Eigentropy",
}
JAKTERISTICS = {
    "eigenvalue_1": "eigenvalue1",
    "eigenvalue_2": "eigenvalue2",
    "eigenvalue_3": "eigenvalue3",
    "eigenvalue_sum": "eigenvalue_sum",
    "linearity": "linearity",
    "planarity": "planarity",
    "sphericity": "sphericity",
    "anisotropy": "anisotropy",
    "surface_variation": "surface_variation",
    "omnivariance": "omnivariance",
    "eigenentropy": "eigenentropy",
    "pca1": "PCA1",
    "pca2": "PCA2",
    "verticality": "verticality",
    "normal_x": "nx",
    "normal_y": "ny",
    "normal_z": "nz",
    "neighbor_count": "number_of_neighbors",
}


class Scan:
    """A file's integer coordinates."""

    def __init__(self, path):
        las = laspy.read(path)
        scales = set(las.header.scales)
        if len(scales) != 1:
            raise SystemExit(f"{path}: the axes' scales differ: {scales}")
        self.path = path
        self.quantum = scales.pop()
        lattice = np.stack([las.X, las.Y, las.Z], axis=1).astype(np.int64)
        self.lattice = lattice - lattice.min(axis=0)
        self.tree = cKDTree(self.lattice.astype(np.float64))

    def __len__(self):
        return len(self.lattice)

    def nearest(self, k):
        """Offsets and indices of the k nearest of each point, ties by index."""
        p = self.lattice
        k = min(k, len(p))
        more = min(k + 16, len(p))
        _, found = self.tree.query(p.astype(np.float64), more, workers=-1)
        found = found.reshape(len(p), more)
        dist_sq = ((p[found] - p[:, None]) ** 2).sum(axis=2)
        order = np.lexsort((found, dist_sq), axis=1)
        found = np.take_along_axis(found, order, axis=1)
        dist_sq = np.take_along_axis(dist_sq, order, axis=1)
        rows = found[:, :k].copy()
        if more < len(p):
            # Members at the k-th distance may have been left behind.
            for i in np.flatnonzero(dist_sq[:, k - 1] == dist_sq[:, -1]):
                near = np.array(self.tree.query_ball_point(p[i], np.sqrt(dist_sq[i, k - 1] + 0.5)))
                near_sq = ((p[near] - p[i]) ** 2).sum(axis=1)
                rows[i] = near[np.lexsort((near, near_sq))[:k]]
        return Lists(self, rows.reshape(-1), np.arange(len(p) + 1) * k)

    def within(self, radius):
        near = self.tree.query_ball_point(self.lattice, radius / self.quantum, workers=-1, return_sorted=True)
        lengths = np.array([len(row) for row in near])
        return Lists(self, np.concatenate(near).astype(np.int64), np.concatenate([[0], np.cumsum(lengths)]))

    def between_lattice_distances(self, radius):
        """A radius near this one that no distance comes near to, in f32 either."""
        square = np.floor((radius / self.quantum) ** 2) + 0.5
        if square > 2e6:
            raise SystemExit(f"radius {radius} is too many quanta of {self.quantum}")
        return float(np.sqrt(square) * self.quantum)


class Lists:
    """Neighbour lists in compressed rows, and the shape of each neighbourhood in f64."""

    def __init__(self, scan, indices, offsets):
        self.indices, self.offsets = indices, offsets
        self.n = np.diff(offsets)
        query = np.repeat(np.arange(len(scan)), self.n)
        self.local = scan.lattice[indices] - scan.lattice[query]
        start = offsets[:-1]
        sums = np.add.reduceat(self.local, start).astype(np.float64)
        cov = np.empty((len(scan), 3, 3))
        for a in range(3):
            for b in range(a, 3):
                products = np.add.reduceat(self.local[:, a] * self.local[:, b], start).astype(np.float64)
                cov[:, a, b] = cov[:, b, a] = products * self.n - sums[:, a] * sums[:, b]
        cov *= (scan.quantum / self.n[:, None, None]) ** 2
        values, vectors = np.linalg.eigh(cov)
        self.values = np.maximum(values[:, ::-1], 0.0)
        self.vectors = vectors[:, :, ::-1]

    def reference(self, profile):
        """The profile's formulas in f64, written down once more."""
        with np.errstate(all="ignore"):
            return self._pgeof() if profile == "pgeof" else self._jakteristics()

    def _pgeof(self):
        eps = 1e-3
        lam = self.values.T
        s = np.sqrt(lam)
        e = lam / (lam.sum(axis=0) + eps)
        unary = (np.abs(self.vectors) * self.values[:, None, :]).sum(axis=2)
        return {
            "linearity": (s[0] - s[1]) / (s[0] + eps),
            "planarity": (s[1] - s[2]) / (s[0] + eps),
            "sphericity": s[2] / (s[0] + eps),
            "verticality_unary": unary[:, 2] / np.linalg.norm(unary, axis=1),
            "length": s[0],
            "surface": np.sqrt(s[0] * s[1] + eps**2),
            "volume": np.cbrt(s.prod(axis=0) + eps**3),
            "surface_variation": s[2] / (s.sum(axis=0) + eps),
            "verticality": 1.0 - np.abs(self.vectors[:, 2, 2]),
            "eigenentropy": -(e * np.log(e + eps)).sum(axis=0),
            **self._normal(),
        }

    def _jakteristics(self):
        lam = self.values.T * (self.n / (self.n - 1.0))
        total = lam.sum(axis=0)
        return {
            "eigenvalue_1": lam[0],
            "eigenvalue_2": lam[1],
            "eigenvalue_3": lam[2],
            "eigenvalue_sum": total,
            "linearity": (lam[0] - lam[1]) / lam[0],
            "planarity": (lam[1] - lam[2]) / lam[0],
            "sphericity": lam[2] / lam[0],
            "anisotropy": (lam[0] - lam[2]) / lam[0],
            "surface_variation": lam[2] / total,
            "omnivariance": np.cbrt(lam.prod(axis=0)),
            "eigenentropy": -np.where(lam > 0, lam * np.log(np.where(lam > 0, lam, 1.0)), 0.0).sum(axis=0),
            "pca1": lam[0] / total,
            "pca2": lam[1] / total,
            "verticality": 1.0 - np.abs(self.vectors[:, 2, 2]),
            "neighbor_count": self.n.astype(np.float64),
            **self._normal(),
        }

    def _normal(self):
        return {f"normal_{axis}": self.vectors[:, a, 2] for a, axis in enumerate("xyz")}


def ours(args, scan, profile, features, rule):
    """The command line's columns and flags."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.las"
        subprocess.run(
            [args.command, "compute", scan.path, out, "--conventions", profile, "--features", ",".join(features)]
            + ["--flags", "--overwrite-columns", "--backend", args.backend, *rule],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        las = laspy.read(out)
    camel = {name: "".join(word.capitalize() for word in name.split("_")) for name in features}
    return {name: np.asarray(las[camel[name]], np.float64) for name in features}, np.asarray(las["Flags"])


def peers_pgeof(lists, quantum):
    """compute_features, in f32. Each neighbourhood is handed over about its query, so that f32 holds it."""
    local = (lists.local * quantum).astype(np.float32)
    indices = np.arange(len(local), dtype=np.uint32)
    columns = pgeof.compute_features(local, indices, lists.offsets.astype(np.uint32))
    return dict(zip(PGEOF, columns.T.astype(np.float64)))


def peers_pgeof_selected(scan, lists, radius):
    """compute_features_selected, in f64."""
    points = np.ascontiguousarray(scan.lattice * scan.quantum)
    wanted = [getattr(pgeof.EFeatureID, name) for name in PGEOF.values()]
    columns = pgeof.compute_features_selected(points, radius, int(lists.n.max()) + 1, wanted)
    return dict(zip(PGEOF, columns.T))


def peers_jakteristics(scan, radius):
    points = np.ascontiguousarray(scan.lattice * scan.quantum)
    names = list(JAKTERISTICS.values())
    columns = jakteristics.compute_features(
        points, radius, max_k_neighbors=len(points), feature_names=names, num_threads=1
    )
    return dict(zip(JAKTERISTICS, columns.T.astype(np.float64)))


def compare(title, names, columns, flags, peer, lists, profile, absolute_tolerance=0.0):
    """Prints a table. Vectors are compared up to their sign, where their eigenvalue stands apart."""
    few, identical, line = (flags & bit != 0 for bit in (FEW, IDENTICAL, COLLINEAR))
    degenerate = few | identical | line
    lam = lists.values
    with np.errstate(all="ignore"):
        sharp = lam[:, 1] - lam[:, 2] > SHARP * lam[:, 0]
        sharp2 = sharp & (lam[:, 0] - lam[:, 1] > SHARP * lam[:, 0])
    # jakteristics takes one vector for two where eigenvalues are this close.
    gap = np.minimum(lam[:, 0] - lam[:, 1], lam[:, 1] - lam[:, 2]) * lists.n / np.maximum(lists.n - 1, 1)
    mixed = gap < 1.1 * absolute_tolerance
    reference = lists.reference(profile)
    for source in (columns, peer, reference):
        side = np.sign(np.choose(np.argmax(np.abs(lists.vectors[:, :, 2]), axis=1), [
            np.nan_to_num(source[f"normal_{a}"]) for a in "xyz"
        ]))
        for axis in "xyz":
            source[f"normal_{axis}"] = source[f"normal_{axis}"] * np.where(side == 0, 1, side)
    print(f"\n{title}\n")
    print(
        f"{len(flags)} points: {few.sum()} with fewer than three members, {(identical & ~few).sum()} others at"
        f" one place, {(line & ~few).sum()} others on a line; members {lists.n.min()}..{lists.n.max()},"
        f" {lists.n.mean():.1f} on average\n"
    )
    print(
        "| feature | peer's name | compared | largest difference | 99.9 % below"
        " | ours to f64 | peer's to f64 | NaN in one |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for name in columns:
        if name not in peer:
            continue
        use = ~degenerate
        if name.startswith("normal"):
            use = use & sharp & ~mixed
        elif name == "verticality":
            use = use & sharp
        elif name == "verticality_unary":
            use = use & sharp2
        a, b, f64 = columns[name][use], peer[name][use], reference[name][use]
        both = np.isfinite(a) & np.isfinite(b)
        off = np.abs(a - b)[both]
        largest = lambda x: f"{x.max():.1e}" if len(x) else "–"
        quantile = f"{np.quantile(off, 0.999):.1e}" if len(off) else "–"
        cells = [
            f"`{name}`", names[name], both.sum(), largest(off), quantile,
            largest(np.abs(a - f64)[both]), largest(np.abs(b - f64)[both]), (~both).sum(),
        ]
        print("| " + " | ".join(str(c) for c in cells) + " |")
    if absolute_tolerance:
        print(f"\n{(mixed & ~degenerate).sum()} points have eigenvalues closer than the package's tolerance.")
    print_degenerate(columns, peer, {"few": few, "identical": identical & ~few, "line": line & ~few})


def print_degenerate(columns, peer, kinds):
    """How often both sides agree where neighbourhoods have no shape."""
    for kind, mask in kinds.items():
        if not mask.any():
            continue
        differing = []
        for name in columns:
            if name not in peer:
                continue
            a, b = columns[name][mask], peer[name][mask]
            same = (np.isnan(a) & np.isnan(b)) | (np.abs(a - b) <= 1e-5)
            if not same.all():
                i = np.flatnonzero(~same)[0]
                differing.append(f"{name} at {(~same).sum()} (ours {a[i]:.6g}, theirs {b[i]:.6g})")
        print(f"\n{kind}: {mask.sum()} points; differing: {', '.join(differing) or 'nothing'}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", metavar="FILE")
    parser.add_argument("--command", required=True, help="the lidar-features executable")
    parser.add_argument("--knn", type=int, default=20)
    parser.add_argument("--radius", type=float, default=1.0)
    parser.add_argument("--backend", default="cpu")
    args = parser.parse_args()
    for path in args.files:
        scan = Scan(path)
        file = Path(path).name
        lists = scan.nearest(args.knn)
        columns, flags = ours(args, scan, "pgeof", list(PGEOF), ["--knn", str(args.knn)])
        title = f"**pgeof 0.3.4, compute_features (f32), {args.knn} nearest, {file}**"
        compare(title, PGEOF, columns, flags, peers_pgeof(lists, scan.quantum), lists, "pgeof")

        radius = scan.between_lattice_distances(args.radius)
        lists = scan.within(radius)
        rule = ["--radius", repr(radius)]
        columns, flags = ours(args, scan, "pgeof", list(PGEOF), rule)
        title = f"**pgeof 0.3.4, compute_features_selected (f64), within {radius:.6g}, {file}**"
        compare(title, PGEOF, columns, flags, peers_pgeof_selected(scan, lists, radius), lists, "pgeof")

        columns, flags = ours(args, scan, "jakteristics", list(JAKTERISTICS), rule)
        title = f"**jakteristics 0.6.2, within {radius:.6g}, {file}**"
        peer = peers_jakteristics(scan, radius)
        compare(title, JAKTERISTICS, columns, flags, peer, lists, "jakteristics", absolute_tolerance=1e-5)


if __name__ == "__main__":
    main()
