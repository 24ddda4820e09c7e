//! Shader texts and how they are put together. The only place that includes WGSL files.
//!
//! Lines that begin with `#` are directives: `#if NAME` .. `#else` .. `#end`, and `#each_candidate` .. `#end`, whose
//! body is put into candidates.wgsl or found_by_team.wgsl, as is that of `#each_candidates`, which is about several at once.
//! Lists of named scalars are generated, since WGSL cannot index registers.

use std::fmt::Write as _;

use super::network;
use crate::features::Flags;
use crate::plan::NO_ROW;

pub(crate) const GRID: &str = include_str!("../../../shaders/grid.wgsl");
pub(crate) const COUNT_CUBES: &str = include_str!("../../../shaders/count_cubes.wgsl");
pub(crate) const CUT_CUBES: &str = include_str!("../../../shaders/cut_cubes.wgsl");
pub(crate) const CLEAR_CELLS: &str = include_str!("../../../shaders/clear_cells.wgsl");
pub(crate) const COUNT_CELLS: &str = include_str!("../../../shaders/count_cells.wgsl");
pub(crate) const SCAN: &str = include_str!("../../../shaders/scan.wgsl");
pub(crate) const SCAN_ADD: &str = include_str!("../../../shaders/scan_add.wgsl");
pub(crate) const SCATTER: &str = include_str!("../../../shaders/scatter.wgsl");
pub(crate) const EXACT: &str = include_str!("../../../shaders/exact.wgsl");
pub(crate) const DISTANCE_NARROW: &str = include_str!("../../../shaders/distance_narrow.wgsl");
pub(crate) const DISTANCE_WIDE: &str = include_str!("../../../shaders/distance_wide.wgsl");
pub(crate) const SQUARES_NARROW: &str = include_str!("../../../shaders/squares_narrow.wgsl");
pub(crate) const SQUARES_WIDE: &str = include_str!("../../../shaders/squares_wide.wgsl");
pub(crate) const RECORD: &str = include_str!("../../../shaders/record.wgsl");
pub(crate) const QUEUE: &str = include_str!("../../../shaders/queue.wgsl");
pub(crate) const QUERY: &str = include_str!("../../../shaders/query.wgsl");
pub(crate) const DEPTHS: &str = include_str!("../../../shaders/depths.wgsl");
pub(crate) const QUICK: &str = include_str!("../../../shaders/quick.wgsl");
pub(crate) const REACH: &str = include_str!("../../../shaders/reach.wgsl");
pub(crate) const SEARCH: &str = include_str!("../../../shaders/search.wgsl");
pub(crate) const TOGETHER: &str = include_str!("../../../shaders/together.wgsl");
pub(crate) const TEAM: &str = include_str!("../../../shaders/team.wgsl");
pub(crate) const BALL_TEAM: &str = include_str!("../../../shaders/ball_team.wgsl");
pub(crate) const EIGEN: &str = include_str!("../../../shaders/eigen.wgsl");
pub(crate) const FEATURES: &str = include_str!("../../../shaders/features.wgsl");
pub(crate) const EVALUATE: &str = include_str!("../../../shaders/evaluate.wgsl");
pub(crate) const SUMS: &str = include_str!("../../../shaders/sums.wgsl");
pub(crate) const MERGE: &str = include_str!("../../../shaders/merge.wgsl");
pub(crate) const POSITIONS: &str = include_str!("../../../shaders/positions.wgsl");
pub(crate) const SORT: &str = include_str!("../../../shaders/sort.wgsl");
pub(crate) const WALK: &str = include_str!("../../../shaders/walk.wgsl");
pub(crate) const LAST: &str = include_str!("../../../shaders/last.wgsl");
pub(crate) const MEMBERS: &str = include_str!("../../../shaders/members.wgsl");
pub(crate) const PLACE: &str = include_str!("../../../shaders/place.wgsl");
pub(crate) const SETTLE: &str = include_str!("../../../shaders/settle.wgsl");
const PRELUDE: &str = include_str!("../../../shaders/prelude.wgsl");
/// How an invocation comes by its candidates, and how a team does.
pub(crate) const CANDIDATES: &str = include_str!("../../../shaders/candidates.wgsl");
pub(crate) const FOUND_BY_TEAM: &str = include_str!("../../../shaders/found_by_team.wgsl");
/// Stands where a team looks for the k-th of all that its lanes found.
const KTH: &str = include_str!("../../../shaders/kth.wgsl");

/// Values that one invocation of the scan takes.
pub(crate) const SCAN_ITEMS: u32 = 8;
/// Points that one invocation counts in their cubes, and cubes that a workgroup counts on its own.
pub(crate) const CUBE_ITEMS: u32 = 4;
const USUAL: u32 = 8;
/// Fine cells that a cube may have for each of its points.
pub(crate) const CELLS_PER_POINT: u32 = 4;
/// Marks the empty end of a list.
pub(crate) const NO_NEIGHBOR: u32 = u32::MAX;
/// Most fine cells along an axis of a cube.
const MAX_CUTS: u32 = 255;
/// Set in the word of an empty cube, beside the number of empty cubes from it on.
const EMPTY_CUBE: u32 = 1 << 31;
/// Most empty cubes that a search steps over at a time.
const EMPTY_RUN: u32 = 64;
/// Set in the queue's word of a query that the narrow kernel has looked around as far as it can.
const LOOKED_FAR: u32 = 1 << 31;
/// Words of the queue before its lists: a counter for each, and some to spare.
pub(crate) const QUEUE_COUNTERS: u32 = 8;
/// Lists of the queue: of those left to the wide kernel and to the CPU, then of what [`super::kernel::Turn`] tells.
pub(crate) const QUEUE_LISTS: [&str; 6] = ["TO_WIDE", "TO_CPU", "TO_AGAIN", "TO_MORE", "TO_TIED", "TO_LAST"];
/// Row ranges gathered before their points are visited.
pub(crate) const RANGES: u32 = 8;
/// Row ranges that a quick search keeps, and the most that any does. They take of the cache what they take of workgroup
/// memory.
pub(crate) const KEPT_RANGES: u32 = 24;
pub(crate) const MOST_KEPT_RANGES: u32 = 31;
/// Search radii tried before a query is left to the CPU.
const ATTEMPTS: u32 = 16;
/// Those that a team tries, and how they grow while too little is found: beside a crowd, one look that reaches it takes longer
/// than all others.
const TEAM_ATTEMPTS: u32 = 32;
const TEAM_GROWTH: f32 = 1.2;
/// Cubes that each lane of a team goes through before the lanes part: looking at an empty one takes little.
const CUBES_A_LANE: u32 = 4;
/// Rows of a cube likewise.
const ROWS_A_LANE: u32 = 64;
/// How far the kernel with the narrow distances looks, in quanta.
const NARROW_LIMIT: f32 = 4096.0;
/// First radius of a probe, in units of the one that holds k points at the cube's mean density on a surface.
const REACH_FACTOR: f32 = 1.2;
/// First radius of a query, in units of what the probes of its cube needed.
const PROBE_FACTOR: f32 = 1.2;
/// Points of each cube that are probed.
pub(crate) const PROBES: u32 = 4;

/// A shader in the making.
pub(crate) struct Text {
    header: String,
    body: String,
    defined: Vec<&'static str>,
    k: u32,
    slots: u32,
    batch: u32,
    scales: u32,
    columns: String,
    extras: String,
    candidates: &'static str,
}

impl Text {
    pub(crate) fn new(workgroup: u32) -> Self {
        let mut text = Self {
            header: String::new(),
            body: String::new(),
            defined: Vec::new(),
            k: 1,
            slots: 1,
            batch: 1,
            scales: 1,
            columns: String::new(),
            extras: String::new(),
            candidates: CANDIDATES,
        };
        text.constant("WORKGROUP", workgroup)
            .constant("SCAN_ITEMS", SCAN_ITEMS)
            .constant("CUBE_ITEMS", CUBE_ITEMS)
            .constant("USUAL", USUAL)
            .constant("CELLS_PER_POINT", CELLS_PER_POINT)
            .constant("NO_NEIGHBOR", NO_NEIGHBOR)
            .constant("NO_ROW", NO_ROW)
            .constant("MAX_CUTS", MAX_CUTS)
            .constant("EMPTY_CUBE", EMPTY_CUBE)
            .constant("EMPTY_RUN", EMPTY_RUN)
            .constant("LOOKED_FAR", LOOKED_FAR)
            .constant("QUEUE_COUNTERS", QUEUE_COUNTERS)
            .constant("ATTEMPTS", ATTEMPTS)
            .constant("CUBES_A_LANE", CUBES_A_LANE)
            .constant("ROWS_A_LANE", ROWS_A_LANE)
            .constant("FLAG_FEW", Flags::FEW.0)
            .constant("FLAG_IDENTICAL", Flags::IDENTICAL.0)
            .constant("FLAG_COLLINEAR", Flags::COLLINEAR.0)
            .constant("FLAG_NO_PLANE", Flags::NO_PLANE.0)
            .constant("FLAG_UNDER_SIX", Flags::UNDER_SIX.0)
            .constant("FLAG_DARK_AROUND", Flags::DARK_AROUND.0)
            .constant("FLAG_ALONE", Flags::ALONE.0)
            .constant("FLAG_NO_RADIUS", Flags::NO_RADIUS.0)
            .constant("FLAG_EMPTY", Flags::EMPTY.0)
            .float("REACH_FACTOR", REACH_FACTOR)
            .float("TEAM_GROWTH", TEAM_GROWTH)
            .constant("TEAM_ATTEMPTS", TEAM_ATTEMPTS)
            .float("PROBE_FACTOR", PROBE_FACTOR)
            .constant("PROBES", PROBES)
            .float("NARROW_LIMIT", NARROW_LIMIT);
        for (list, name) in (0..).zip(QUEUE_LISTS) {
            text.constant(name, list);
        }
        text.add(PRELUDE);
        text
    }

    pub(crate) fn constant(&mut self, name: &str, value: u32) -> &mut Self {
        // Writing to a String cannot fail.
        let _ = writeln!(self.header, "const {name}: u32 = {value}u;");
        self
    }

    pub(crate) fn integer(&mut self, name: &str, value: i32) -> &mut Self {
        let _ = writeln!(self.header, "const {name}: i32 = {value};");
        self
    }

    pub(crate) fn float(&mut self, name: &str, value: f32) -> &mut Self {
        let _ = writeln!(self.header, "const {name}: f32 = {value:?};");
        self
    }

    /// Defines a name for `#if`.
    pub(crate) fn when(&mut self, name: &'static str, defined: bool) -> &mut Self {
        if defined {
            self.defined.push(name);
        }
        self
    }

    /// How many are wanted of a list, and how long it is.
    pub(crate) fn list(&mut self, k: u32, slots: u32) -> &mut Self {
        (self.k, self.slots) = (k, slots);
        self
    }

    /// How many candidates enter the list together.
    pub(crate) fn batch(&mut self, batch: u32) -> &mut Self {
        self.batch = batch;
        self.constant("BATCH", batch)
    }

    /// Where the candidates come from.
    pub(crate) fn candidates(&mut self, text: &'static str) -> &mut Self {
        self.candidates = text;
        self
    }

    /// Number of radii that a search sums up within.
    pub(crate) fn shells(&mut self, scales: u32) -> &mut Self {
        self.scales = scales;
        self
    }

    /// Statements that write the columns.
    pub(crate) fn columns(&mut self, statements: String) -> &mut Self {
        self.columns = statements;
        self
    }

    /// Statements that read the extras.
    pub(crate) fn extras(&mut self, statements: String) -> &mut Self {
        self.extras = statements;
        self
    }

    /// Appends a shader file; directives are resolved at the end.
    pub(crate) fn add(&mut self, text: &str) -> &mut Self {
        self.body.push_str(text);
        self
    }

    pub(crate) fn finish(&self) -> String {
        let mut out = self.header.clone();
        let lines: Vec<&str> = self.body.lines().collect();
        self.resolve(&lines, &mut out);
        out
    }

    fn resolve(&self, lines: &[&str], out: &mut String) {
        let mut i = 0;
        while i < lines.len() {
            let line = lines[i].trim();
            if let Some(name) = line.strip_prefix("#if ") {
                let (otherwise, end) = block(lines, i);
                let (then, other) =
                    (&lines[i + 1..otherwise.unwrap_or(end)], otherwise.map_or(end, |o| o + 1));
                self.resolve(if self.defined.contains(&name) { then } else { &lines[other..end] }, out);
                i = end;
            } else if let Some(some) = line.strip_prefix("#each_candidate") {
                let (_, end) = block(lines, i);
                // One at a time, or so many that newcomers enter a list together.
                let (own, stride) = match some {
                    "" => (["let candidate = sorted[j];"].as_slice(), "1u"),
                    _ => ([].as_slice(), "BATCH"),
                };
                let around = self.candidates.replace("#stride", stride);
                let mut all = Vec::new();
                for part in around.lines().filter(|line| !line.trim_start().starts_with("//")) {
                    match part.trim() {
                        "#body" => all.extend(own.iter().chain(&lines[i + 1..end])),
                        _ => all.push(part),
                    }
                }
                self.resolve(&all, out);
                i = end;
            } else if line == "#each_member" {
                let (_, end) = block(lines, i);
                self.write_members(&lines[i + 1..end], out);
                i = end;
            } else if line == "#kth" {
                self.resolve(&KTH.lines().collect::<Vec<_>>(), out);
            } else if line.starts_with("#columns") {
                out.push_str(&self.columns);
            } else if line == "#extras" {
                out.push_str(&self.extras);
            } else if let Some(value) = line.strip_prefix("#newcomers ") {
                write_newcomers(value, self.batch, out);
            } else if let Some(list) = line.strip_prefix("#list_") {
                self.write_list(list, out);
            } else if let Some(shells) = line.strip_prefix("#shell_") {
                self.write_shells(shells, out);
            } else {
                let slot = |of: u32| format!("s{of}");
                let line = lines[i].replace("#last", &slot(self.slots - 1));
                out.push_str(&line.replace("#kth", &slot(self.k - 1)).replace("#next", &slot(self.k)));
                out.push('\n');
            }
            i += 1;
        }
    }

    /// Once for each member, `at` which a member stands and which `member` it is: through workgroup
    /// memory, since the slots have names only, and unrolled the text would be many times as long.
    fn write_members(&self, body: &[&str], out: &mut String) {
        let members: Vec<u32> = (0..self.k).collect();
        for some in members.chunks(KEPT_RANGES as usize) {
            for (own, member) in some.iter().enumerate() {
                let _ = writeln!(out, "ranges[{own}u * WORKGROUP + lane] = s{member};");
            }
            let _ = writeln!(out, "for (var own = 0u; own < {}u; own += 1u) {{", some.len());
            let _ =
                writeln!(out, "let at = ranges[own * WORKGROUP + lane];\nlet member = {}u + own;", some[0]);
            self.resolve(body, out);
            out.push_str("}\n");
        }
    }

    /// Sums of each radius: named, since an index that is not constant would put them out of the registers. A candidate
    /// belongs to the smallest radius that reaches it, and so to all larger ones.
    fn write_shells(&self, what: &str, out: &mut String) {
        if what == "insert" {
            out.push_str("let d = dist_sq(q, candidate);\nif (d <= last) {\n");
            out.push_str("let o = vec3<i32>(candidate.xyz - q);\nlet exact = dist_to_u32(d);\n");
        }
        for s in 0..self.scales {
            let last = s + 1 == self.scales;
            let _ = match what {
                "declare" => writeln!(out, "var shell{s} = no_sums();"),
                "insert" => {
                    let limit = format!("if (exact <= grid.ends[{}u][{}u])", s / 4, s % 4);
                    let condition = if last { "" } else { &limit };
                    let otherwise = if s == 0 { "" } else { "else " };
                    writeln!(out, "{otherwise}{condition} {{ shell{s} = with_member(shell{s}, o, exact); }}")
                }
                "count" => writeln!(out, "count += shell{s}.count;"),
                "join" => writeln!(out, "shell{s} = joined(shell{s}, lane);"),
                "write" if s == 0 => writeln!(out, "write_record(row, shell0);"),
                "write" => writeln!(
                    out,
                    "shell{s} = merged(shell{s}, shell{});\nwrite_record({s}u * grid.rows + row, shell{s});",
                    s - 1
                ),
                _ => writeln!(out, "unknown directive {what}"),
            };
        }
        if what == "insert" {
            out.push_str("}\n");
        }
    }

    /// The list of the nearest, distances or keys or whatever else is ordered: `s0 <= s1 <= ..`, one named scalar a slot.
    fn write_list(&self, what: &str, out: &mut String) {
        if what == "merge" {
            out.push_str(&network::merge(self.slots, self.batch));
            return;
        }
        let keys = self.defined.contains(&"KEYED");
        for j in (0..self.slots).rev() {
            let below = j.wrapping_sub(1);
            // Those that follow the k-th only tell about it.
            let member = j < self.k;
            let _ = match what {
                "declare" | "reset" if keys => {
                    writeln!(out, "{}s{j} = NO_KEY;", if what == "reset" { "" } else { "var " })
                }
                "declare" => writeln!(out, "var s{j} = FAR;"),
                // Of those as far as the k-th, as far as keys tell, the last: keys in the slots still, or places already.
                "worst" if member => {
                    let worst = self.k;
                    writeln!(
                        out,
                        "if (level{j} == level && comes_after(s{j}, s{worst}, q)) {{ let other = s{j}; s{j} = s{worst}; s{worst} = other; }}"
                    )
                }
                "levels" => writeln!(out, "let level{j} = s{j} >> KEY_BITS;"),
                "positions" if j <= self.k => writeln!(out, "s{j} = position_of(s{j}, lane);"),
                "count" if keys => writeln!(out, "seen += u32(s{j} != NO_KEY);"),
                "count" => writeln!(out, "seen += u32(s{j} < bound);"),
                "reset" => writeln!(out, "s{j} = most;"),
                "reset_index" => writeln!(out, "s{j} = FAR;"),
                "below" => writeln!(out, "below += u32(s{j} < middle);"),
                "nearer" if member => writeln!(out, "nearer += u32(s{j} < last);"),
                "pick" if member => writeln!(out, "cut = select(cut, s{j}, wanted_of_tied == {}u);", j + 1),
                // No branch, and no order among the slots' updates but from the top down: each becomes the median of
                // itself, the one below and the newcomer.
                "insert" if j == 0 => writeln!(out, "s0 = min(s0, d);"),
                "insert" => writeln!(out, "s{j} = max(s{below}, min(s{j}, d));"),
                "rank" if member => writeln!(out, "slot += u32(s{j} < d); slot_end += u32(s{j} <= d);"),
                // Slots that are written to without a look at what is there need no clearing.
                "clear" if member => {
                    let next = j + 1;
                    let clear = format!("output[list_offset + first + {j}u] = NO_NEIGHBOR;");
                    match (j, next == self.k) {
                        (_, true) => writeln!(out, "{clear}"),
                        (0, _) => writeln!(out, "if (fewer || s0 == s1) {{ {clear} }}"),
                        _ => writeln!(out, "if (fewer || s{j} == s{below} || s{j} == s{next}) {{ {clear} }}"),
                    }
                }
                "write" if member => writeln!(out, "output[first + {j}u] = dist_to_u32(s{j});"),
                "worst" | "positions" | "nearer" | "pick" | "rank" | "clear" | "write" => Ok(()),
                _ => writeln!(out, "unknown directive {what}"),
            };
        }
    }
}

/// What a batch of candidates brings to a list: `NONE : value`, the value of a `#candidate` and its `#number`, or none behind
/// the end of its row; and the `least` of them.
fn write_newcomers(what: &str, batch: u32, out: &mut String) {
    let (none, value) = what.split_once(" : ").unwrap_or(("", what));
    for i in 0..batch {
        let at = format!("(j + {i}u)");
        let value = value
            .replace("#candidate", &format!("sorted[{at}]"))
            .replace("#number", &format!("({at} + tag)"));
        // Rows have one candidate at least.
        let _ = match i {
            0 => writeln!(out, "let key0 = {value};"),
            _ => writeln!(out, "let key{i} = select({none}, {value}, {at} < stop);"),
        };
    }
    let least = (1..batch).fold("key0".to_owned(), |least, i| format!("min({least}, key{i})"));
    let _ = writeln!(out, "let least = {least};");
}

/// Lines of a directive's `#else`, if it has one, and `#end`; a missing `#end` is the text's end.
fn block(lines: &[&str], start: usize) -> (Option<usize>, usize) {
    let (mut depth, mut otherwise) = (0, None);
    for (i, line) in lines.iter().enumerate().skip(start + 1) {
        let line = line.trim();
        if line.starts_with("#if ") || line.starts_with("#each_") {
            depth += 1;
        } else if line == "#end" {
            if depth == 0 {
                return (otherwise, i);
            }
            depth -= 1;
        } else if line == "#else" && depth == 0 {
            otherwise = Some(i);
        }
    }
    (otherwise, lines.len())
}
