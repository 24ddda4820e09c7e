//! One neighbourhood computed again, from the definitions and by other algorithms than the crate's.

/// Shape of a neighbourhood in f64, with how well its parts are defined.
#[derive(Debug, Clone)]
pub struct Local {
    pub n: usize,
    /// Descending.
    pub lambda: [f64; 3],
    /// Unit eigenvectors, signed as the catalogue says.
    pub vectors: [[f64; 3]; 3],
    pub radius: f64,
    pub mean_distance: f64,
    /// Of the others; 0 where there is none.
    pub nearest: f64,
    pub std_distance: f64,
    pub std_z: f64,
    /// Sizes of the bounding box.
    pub extent: [f64; 3],
    /// How far it reaches below and above the query.
    pub below: f64,
    pub above: f64,
    /// Distance from the query to the mean.
    pub mean_offset: f64,
    /// Σ⟨o, v⟩ and Σ⟨o, v⟩² for v1 and v2.
    pub moments: [[f64; 2]; 2],
    /// Trace and determinant of the covariance of x and y, the latter in units of the trace's square.
    pub trace_2d: f64,
    pub det_2d: f64,
    /// Signed distance of the query to the plane through the others, and z of that plane's normal.
    pub plane_distance: f64,
    pub plane_normal_z: f64,
    /// Mean distance of the others to that plane.
    pub plane_mean: f64,
    /// Fewer than three members.
    pub few: bool,
    pub identical: bool,
    pub collinear: bool,
    /// The others span no plane.
    pub no_plane: bool,
    /// (λ1 − λ2)/λ1 and (λ2 − λ3)/λ1: how well the vectors' directions are defined.
    pub gap12: f64,
    pub gap23: f64,
    /// (λ2 − λ3)/λ1 of the others.
    pub gap23_of_others: f64,
}

type Offset = [i128; 3];

impl Local {
    /// The neighbourhood of point `i` with these members (indices in the cloud).
    pub fn new(points: &[[i32; 3]], i: usize, members: &[u32], quantum: f64) -> Self {
        let offset =
            |j: &u32| -> Offset { std::array::from_fn(|a| (points[*j as usize][a] - points[i][a]).into()) };
        let all: Vec<Offset> = members.iter().map(offset).collect();
        // Where the place holds more points than k, the query may be none of the members: any of its place stands
        // for it.
        let query = all.iter().position(|o| *o == [0; 3]).expect("the query or a duplicate is a member");
        let mut others = all.clone();
        others.remove(query);
        Self::with(all, others, quantum)
    }

    /// The neighbourhood of a place that is no point of the cloud: all of its members, one at least, are others.
    pub fn around(place: [i32; 3], points: &[[i32; 3]], members: &[u32], quantum: f64) -> Self {
        let offset = |j: &u32| -> Offset {
            std::array::from_fn(|a| i128::from(points[*j as usize][a]) - i128::from(place[a]))
        };
        let all: Vec<Offset> = members.iter().map(offset).collect();
        Self::with(all.clone(), all, quantum)
    }

    fn with(all: Vec<Offset>, others: Vec<Offset>, quantum: f64) -> Self {
        let n = all.len();
        let (lambda, vectors) = eigen(covariance(&all, quantum));
        let length = |o: &Offset| (o.iter().map(|v| v * v).sum::<i128>() as f64).sqrt() * quantum;
        let z = |o: &Offset| o[2] as f64 * quantum;
        let mean_z = all.iter().map(z).sum::<f64>() / n as f64;
        let world = |o: &Offset| o.map(|v| v as f64 * quantum);
        let Plane {
            distance: plane_distance,
            normal_z: plane_normal_z,
            gap23: gap23_of_others,
            mean: plane_mean,
        } = Plane::through(&others, quantum);
        let vectors = [largest_positive(vectors[0]), largest_positive(vectors[1]), upward(vectors[2])];
        let distances: Vec<f64> = others.iter().map(length).collect();
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
        let mean_distance = mean(&distances);
        let deviations: Vec<f64> = distances.iter().map(|d| (d - mean_distance).powi(2)).collect();
        let along = |axis: usize, power: i32| -> f64 {
            all.iter().map(|o| dot(world(o), vectors[axis]).powi(power)).sum()
        };
        let of_axis = |a: usize| all.iter().map(move |o| o[a] as f64 * quantum);
        let highest = |a: usize| of_axis(a).fold(f64::MIN, f64::max);
        let lowest = |a: usize| of_axis(a).fold(f64::MAX, f64::min);
        // A difference of whole numbers: far from the query those of coordinates would round.
        let size = |a: usize| {
            let along = || all.iter().map(|o| o[a]);
            (along().max().unwrap_or(0) - along().min().unwrap_or(0)) as f64 * quantum
        };
        // Whole numbers, which cancel to zero.
        let sum: Offset = std::array::from_fn(|a| all.iter().map(|o| o[a]).sum());
        let c = covariance(&all, quantum);
        let trace_2d = c[0][0] + c[1][1];
        let per_trace = |v: f64| v / trace_2d.max(f64::MIN_POSITIVE);
        let det_2d = per_trace(c[0][0]) * per_trace(c[1][1]) - per_trace(c[0][1]).powi(2);
        let rank = rank(&all);
        let gap =
            |a: usize, b: usize| if lambda[0] > 0.0 { (lambda[a] - lambda[b]) / lambda[0] } else { 0.0 };
        Self {
            n,
            lambda,
            vectors,
            radius: all.iter().map(length).fold(0.0, f64::max),
            mean_distance,
            nearest: distances.iter().copied().reduce(f64::min).unwrap_or(0.0),
            std_distance: mean(&deviations).sqrt(),
            std_z: (all.iter().map(|o| (z(o) - mean_z).powi(2)).sum::<f64>() / n as f64).sqrt(),
            extent: std::array::from_fn(size),
            below: 0.0 - lowest(2),
            above: highest(2),
            mean_offset: length(&sum) / n as f64,
            moments: [0, 1].map(|axis| [along(axis, 1), along(axis, 2)]),
            trace_2d,
            det_2d,
            plane_distance,
            plane_normal_z,
            plane_mean,
            few: n < 3,
            identical: rank == 0,
            collinear: rank == 1,
            no_plane: others.len() < 3 || self::rank(&others) < 2,
            gap12: gap(0, 1),
            gap23: gap(1, 2),
            gap23_of_others,
        }
    }
}

/// The plane through some points, seen from the origin.
struct Plane {
    /// Positive where the origin lies on the side that the normal points to.
    distance: f64,
    normal_z: f64,
    /// (λ2 − λ3)/λ1 of the points.
    gap23: f64,
    /// Mean distance of the points.
    mean: f64,
}

impl Plane {
    fn through(points: &[Offset], quantum: f64) -> Self {
        if points.len() < 2 {
            return Self { distance: 0.0, normal_z: 0.0, gap23: 0.0, mean: 0.0 };
        }
        let (lambda, vectors) = eigen(covariance(points, quantum));
        let normal = upward(vectors[2]);
        let n = points.len() as f64;
        let mean: [f64; 3] =
            std::array::from_fn(|a| points.iter().map(|p| p[a]).sum::<i128>() as f64 * quantum / n);
        let gap23 = if lambda[0] > 0.0 { (lambda[1] - lambda[2]) / lambda[0] } else { 0.0 };
        let away = |p: &Offset| (dot(normal, p.map(|v| v as f64 * quantum)) - dot(normal, mean)).abs();
        let away = points.iter().map(away).sum::<f64>() / n;
        Self { distance: -dot(normal, mean), normal_z: normal[2], gap23, mean: away }
    }
}

/// Exact, then rounded once: (n Σ o oᵀ − Σo Σoᵀ) quantum²/n².
fn covariance(points: &[Offset], quantum: f64) -> [[f64; 3]; 3] {
    let n = points.len() as i128;
    let sum: Offset = std::array::from_fn(|a| points.iter().map(|p| p[a]).sum());
    std::array::from_fn(|a| {
        std::array::from_fn(|b| {
            let products: i128 = points.iter().map(|p| p[a] * p[b]).sum();
            (n * products - sum[a] * sum[b]) as f64 * (quantum / n as f64).powi(2)
        })
    })
}

/// Dimensions spanned: 0 for one place, 1 for a line, 2 for more.
fn rank(points: &[Offset]) -> usize {
    let from_first = |p: &Offset| -> Offset { std::array::from_fn(|a| p[a] - points[0][a]) };
    let Some(along) = points.iter().map(from_first).find(|d| *d != [0; 3]) else { return 0 };
    let off_line = |d: &Offset| {
        (0..3).any(|a| {
            let b = (a + 1) % 3;
            along[a] * d[b] != along[b] * d[a]
        })
    };
    if points.iter().map(from_first).any(|d| off_line(&d)) { 2 } else { 1 }
}

/// Eigenvalues by bisection, vectors from cross products of `a − λ` rows.
fn eigen(a: [[f64; 3]; 3]) -> ([f64; 3], [[f64; 3]; 3]) {
    let trace = a[0][0] + a[1][1] + a[2][2];
    if trace <= 0.0 {
        return ([0.0; 3], [[0.0; 3]; 3]);
    }
    let scaled = a.map(|row| row.map(|v| v / trace));
    let turned = tridiagonal(scaled);
    let nth = |n: usize| {
        let (mut low, mut high) = (-1e-3, 1.001);
        for _ in 0..80 {
            let middle = 0.5 * (low + high);
            if below(turned, middle) > n { high = middle } else { low = middle }
        }
        0.5 * (low + high)
    };
    let lambda = [nth(2), nth(1), nth(0)];
    // The vector of the eigenvalue that stands farther from the middle one is the better defined.
    let (first, third) = (null_vector(scaled, lambda[0]), null_vector(scaled, lambda[2]));
    let (first, third) = if lambda[0] - lambda[1] > lambda[1] - lambda[2] {
        (first, orthogonal(third, first))
    } else {
        (orthogonal(first, third), third)
    };
    (lambda.map(|l| l.max(0.0) * trace), [first, cross(third, first), third])
}

/// How many eigenvalues of a tridiagonal matrix lie below `x`: its Sturm sequence's negative members.
fn below((diagonal, off): ([f64; 3], [f64; 2]), x: f64) -> usize {
    let mut count = 0;
    let mut q = 1.0;
    for i in 0..3 {
        q = diagonal[i] - x - if i > 0 { off[i - 1].powi(2) / q } else { 0.0 };
        // Zero stands for a number just beside it.
        if q == 0.0 {
            q = 1e-300;
        }
        count += usize::from(q < 0.0);
    }
    count
}

/// The same eigenvalues: turned in the yz plane so that entry xz vanishes.
fn tridiagonal(a: [[f64; 3]; 3]) -> ([f64; 3], [f64; 2]) {
    let r = a[0][1].hypot(a[0][2]);
    let (c, s) = if r > 0.0 { (a[0][1] / r, a[0][2] / r) } else { (1.0, 0.0) };
    let (yy, yz, zz) = (a[1][1], a[1][2], a[2][2]);
    let diagonal =
        [a[0][0], c * c * yy + 2.0 * c * s * yz + s * s * zz, s * s * yy - 2.0 * c * s * yz + c * c * zz];
    (diagonal, [r, c * s * (zz - yy) + (c * c - s * s) * yz])
}

/// Unit vector that a − λ sends to zero.
fn null_vector(a: [[f64; 3]; 3], lambda: f64) -> [f64; 3] {
    let mut m = a;
    (0..3).for_each(|i| m[i][i] -= lambda);
    let candidates = [cross(m[0], m[1]), cross(m[1], m[2]), cross(m[2], m[0])];
    let best = candidates.into_iter().max_by(|a, b| dot(*a, *a).total_cmp(&dot(*b, *b))).unwrap();
    if dot(best, best) > 0.0 {
        return unit(best);
    }
    // Rows along one line: anything across it.
    orthogonal([1.0, 0.6, 0.3], m.into_iter().find(|r| *r != [0.0; 3]).unwrap_or([0.0, 0.0, 1.0]))
}

/// `v` made orthogonal to `to`, of length 1; any such vector if `v` lies along `to`.
fn orthogonal(v: [f64; 3], to: [f64; 3]) -> [f64; 3] {
    let to = unit(to);
    let across = |v: [f64; 3]| -> [f64; 3] {
        let along = dot(v, to);
        std::array::from_fn(|a| v[a] - along * to[a])
    };
    let candidates = [across(v), across([1.0, 0.0, 0.0]), across([0.0, 1.0, 0.0])];
    unit(candidates.into_iter().find(|c| dot(*c, *c) > 1e-6).unwrap())
}

fn upward(v: [f64; 3]) -> [f64; 3] {
    let decisive = if v[2] != 0.0 {
        v[2]
    } else if v[1] != 0.0 {
        v[1]
    } else {
        v[0]
    };
    if decisive < 0.0 { v.map(|c| -c) } else { v }
}

fn largest_positive(v: [f64; 3]) -> [f64; 3] {
    let most = v.iter().fold(0.0, |m: f64, c| m.max(c.abs()));
    let decisive = v.iter().find(|c| c.abs() == most).unwrap();
    if *decisive < 0.0 { v.map(|c| -c) } else { v }
}

pub fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    (0..3).map(|i| a[i] * b[i]).sum()
}

pub fn cross(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    std::array::from_fn(|i| a[(i + 1) % 3] * b[(i + 2) % 3] - a[(i + 2) % 3] * b[(i + 1) % 3])
}

fn unit(v: [f64; 3]) -> [f64; 3] {
    let length = dot(v, v).sqrt();
    v.map(|c| c / length)
}
