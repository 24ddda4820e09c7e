//! Every kernel: its variants, its text and its bindings.

use super::MAX_KERNEL_K;
use super::layout::{Grid, RECORD_WORDS, Scale};
use super::payload::Payload;
use super::shader::{self, Text};
use crate::columns;
use crate::extras::{self, Extra};
use crate::features::{Feature, FeatureSet, Flags, Input, LEAST_REACH, Members, RIDGE};
use crate::neighborhood::Rule;
use crate::scales::Ends;

/// One compute pipeline's worth of shader.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Kernel {
    CountCubes,
    CutCubes,
    ClearCells,
    CountCells,
    /// Of cells in use, or of all values.
    Scan {
        used: bool,
    },
    ScanAdd {
        used: bool,
    },
    Scatter,
    Search(Search),
    /// Sorts the lists that a search filled.
    Sort,
    Walk(Walk),
    /// The last member of each neighbourhood.
    Last {
        record_words: u32,
        /// Members of a neighbourhood that its number cuts; others end nothing.
        wanted: u32,
    },
    Evaluate(Evaluate),
    Place {
        record_words: u32,
    },
    /// Finishes columns that stay on the device.
    Settle(Settle),
}

/// A variant of the neighbour search.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Search {
    /// Length of the list of nearest distances; 1 where the rule needs none.
    pub(crate) k: u32,
    pub(crate) rule: Reach,
    /// Squared distances as u32 instead of f32.
    pub(crate) wide: bool,
    pub(crate) turn: Turn,
    pub(crate) subject: Subject,
    pub(crate) output: Output,
    /// How many candidates enter a list together.
    pub(crate) batch: u32,
}

/// Which queries a kernel takes, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Turn {
    /// Some points of each cube, to find how far others have to look.
    Probe,
    /// All queries: for numbers of neighbours one look each.
    First,
    /// Those that one look was not enough for.
    Again,
    /// Those with more around them than that has room for.
    More,
    /// Those that need more room still: a workgroup for each, if they are few.
    Crew,
    /// The same, if they are many, and those that keys do not tell apart.
    Last,
    /// Those that the others left: too far apart for their distances, or with too much around them.
    Far,
    /// The same, a workgroup for each.
    Team,
}

/// What is searched around.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Subject {
    /// Every loaded point.
    Points,
    /// Loaded points that have a row: the others are halo.
    Core,
    /// Places that are no points of the cloud, one a row.
    Foreign,
}

impl Subject {
    pub(crate) fn of(foreign: bool, halo: bool) -> Self {
        match (foreign, halo) {
            (true, _) => Self::Foreign,
            (_, true) => Self::Core,
            _ => Self::Points,
        }
    }
}

/// Which points are members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Reach {
    /// The k nearest.
    Nearest,
    /// The k nearest within the grid's limit.
    NearestWithin,
    /// All within the grid's limit.
    Within,
}

/// What a search writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Output {
    /// Sorted squared distances and indices.
    Lists,
    /// A record of sums for each of so many neighbourhoods; several only within radii.
    Records(Needs, u32),
    /// How many members there are.
    Counts,
    /// The members' indices, in any order.
    Fill,
    /// How far the k-th neighbours of each cube's probes are.
    Reaches,
    /// Bit 0: a member lies more than the second number of quanta below; bit 1: one lies more than the first, and no more
    /// than the second.
    Beneath([i32; 2]),
}

/// A variant of the kernel that turns sorted lists into records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Walk {
    /// Queries are no points of the cloud.
    pub(crate) foreign: bool,
    pub(crate) needs: Needs,
    pub(crate) ends: WalkEnds,
}

/// Where neighbourhoods end in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum WalkEnds {
    /// So many of them, after a number of members each; then perhaps one where the eigenentropy is least.
    Counts(u32, bool),
    /// So many of them, at a squared distance each.
    Limits(u32),
}

impl WalkEnds {
    pub(crate) fn of(ends: &Ends) -> Self {
        match ends {
            Ends::Counts(counts, range) => Self::Counts(counts.len() as u32, range.is_some()),
            Ends::Limits(limits) => Self::Limits(limits.len() as u32),
        }
    }
}

/// Parts of a record that cost time and not every feature needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Needs {
    pub(crate) distance_sum: bool,
    pub(crate) plane: bool,
    /// Sizes of the bounding box.
    pub(crate) extent: bool,
}

impl Needs {
    pub(crate) fn of(set: &FeatureSet) -> Self {
        Self { distance_sum: set.needs_distance_sum(), plane: set.needs_plane(), extent: set.needs_extent() }
    }

    pub(crate) fn record_words(self) -> u32 {
        RECORD_WORDS + 6 * u32::from(self.plane) + 3 * u32::from(self.extent)
    }
}

/// A variant of the kernel that turns records into columns.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Evaluate {
    pub(crate) features: Vec<Feature>,
    pub(crate) needs: Needs,
    pub(crate) color: bool,
    /// In their order, as they stand behind the colours.
    pub(crate) extras: Vec<Extra>,
    /// What is needed of every single member.
    pub(crate) members: Members,
}

impl Evaluate {
    pub(crate) fn of(set: &FeatureSet) -> Self {
        // Members bring their own colours.
        let own = |f: &Feature| !Members::of_feature(*f).has(Members::CHANNELS);
        let lit = |f: Feature| f.row().inputs.iter().any(|input| matches!(input, Input::Rgb | Input::Nir));
        let color = set.iter().filter(own).any(lit);
        Self {
            features: set.iter().collect(),
            needs: Needs::of(set),
            color,
            extras: extras::needed(set),
            members: set.members(),
        }
    }

    /// Words that a row's attributes take.
    pub(crate) fn attribute_words(&self) -> u32 {
        2 * u32::from(self.color) + self.extras.len() as u32
    }
}

/// A variant of the kernel that does on the device what the host does to columns otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Settle {
    /// Flags of a row that stay.
    kept: u32,
    /// The host knows more flags.
    marks: bool,
    /// For each column, the bits that take the value's place where a row has one of the flags; the first that fits.
    rules: Vec<Vec<(u32, u32)>>,
}

impl Settle {
    pub(crate) fn of(set: &FeatureSet, kept: u32, marks: bool) -> Self {
        let bits = |(flags, value): (Flags, f64)| (flags.0, (value as f32).to_bits());
        let rules = set.iter().map(|feature| columns::rules(feature).map(bits).collect()).collect();
        Self { kept, marks, rules }
    }

    fn write<'a>(&self, text: &'a mut Text) -> &'a mut Text {
        text.constant("KEPT_FLAGS", self.kept).when("MARKS", self.marks);
        let mut statements = String::new();
        for (column, rules) in (1..).zip(&self.rules) {
            let each = rules.iter().map(|(flags, bits)| {
                let at = format!("columns[{column}u * grid.rows + row]");
                format!("if ((flags & {flags}u) != 0u) {{ {at} = {bits}u; }}")
            });
            let chain = each.collect::<Vec<_>>().join(" else ");
            statements += &format!("    {chain}\n");
        }
        text.columns(statements).add(shader::SETTLE)
    }
}

/// Kinds of binding, in the order of `@binding` numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Binding {
    /// A uniform block of so many bytes.
    Uniform(u64),
    /// The [`Batch`], chosen by dynamic offset at each dispatch.
    Batch,
    Read,
    ReadWrite,
}

const GRID: Binding = Binding::Uniform(size_of::<Grid>() as u64);
const SCALE: Binding = Binding::Uniform(size_of::<Scale>() as u64);

impl Kernel {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::CountCubes => "count_cubes",
            Self::CutCubes => "cut_cubes",
            Self::ClearCells => "clear_cells",
            Self::CountCells => "count_cells",
            Self::Scan { .. } => "scan",
            Self::ScanAdd { .. } => "scan_add",
            Self::Scatter => "scatter",
            Self::Search(_) => "search",
            Self::Sort => "sort",
            Self::Walk(_) => "walk",
            Self::Last { .. } => "last",
            Self::Evaluate(_) => "evaluate",
            Self::Place { .. } => "place",
            Self::Settle(_) => "settle",
        }
    }

    pub(crate) fn bindings(&self) -> &'static [Binding] {
        use Binding::{Batch, Read, ReadWrite};
        match self {
            Self::CountCubes => &[GRID, Batch, Read, ReadWrite],
            Self::CutCubes => &[GRID, Batch, Read, ReadWrite, ReadWrite],
            Self::ClearCells => &[GRID, Batch, Read, ReadWrite],
            Self::CountCells => &[GRID, Batch, Read, Read, Read, ReadWrite, ReadWrite],
            Self::Scan { used: true } => &[Batch, ReadWrite, ReadWrite, GRID, Read],
            Self::Scan { used: false } => &[Batch, ReadWrite, ReadWrite],
            Self::ScanAdd { used: true } => &[Batch, ReadWrite, Read, GRID, Read],
            Self::ScanAdd { used: false } => &[Batch, ReadWrite, Read],
            Self::Scatter => &[Batch, Read, Read, Read, ReadWrite],
            Self::Search(Search { output: Output::Fill | Output::Beneath(_), .. }) => {
                &[GRID, Batch, Read, Read, Read, Read, Read, ReadWrite, ReadWrite, Read]
            }
            Self::Search(search) if search.reads_reaches() => {
                &[GRID, Batch, Read, Read, Read, Read, Read, ReadWrite, ReadWrite, Read]
            }
            Self::Search(_) => &[GRID, Batch, Read, Read, Read, Read, Read, ReadWrite, ReadWrite],
            Self::Sort => &[Batch, Read, Read, Read, ReadWrite],
            Self::Walk(_) => &[GRID, Batch, Read, Read, Read, Read, ReadWrite],
            Self::Last { .. } => &[Batch, Read, Read, Read, Read, Read, ReadWrite],
            Self::Evaluate(Evaluate { members, .. }) if members.any() => {
                &[SCALE, Batch, Read, Read, ReadWrite, Read, Read, Read, Read, Read]
            }
            Self::Evaluate(_) => &[SCALE, Batch, Read, Read, ReadWrite],
            Self::Place { .. } => &[Batch, Read, Read, ReadWrite],
            Self::Settle(_) => &[GRID, Batch, Read, ReadWrite],
        }
    }

    /// Items that one workgroup takes.
    pub(crate) fn items_per_group(&self) -> u32 {
        match self {
            Self::ClearCells | Self::Scan { .. } | Self::ScanAdd { .. } => {
                self.workgroup() * shader::SCAN_ITEMS
            }
            Self::CountCubes => self.workgroup() * shader::CUBE_ITEMS,
            Self::Search(search) if search.turn.is_team() => 1,
            _ => self.workgroup(),
        }
    }

    /// Items of one invocation that one of this kernel is like: a team has all of its lanes at work.
    pub(crate) fn alike(&self) -> u32 {
        match self {
            Self::Search(search) if search.turn.is_team() => self.workgroup(),
            _ => 1,
        }
    }

    fn workgroup(&self) -> u32 {
        match self {
            // Eight ranges an invocation are 4 KiB of the 16 KiB that WebGPU grants a workgroup, and the more a kernel
            // takes, the less is left of NVIDIA's cache: 16 ranges cost a third.
            Self::Search(_) => 64,
            Self::Evaluate(_) | Self::Walk(_) | Self::Sort => 64,
            _ => 256,
        }
    }

    /// The shader's final text.
    pub(crate) fn source(&self) -> String {
        let mut text = Text::new(self.workgroup());
        match self {
            Self::CountCubes => text.add(shader::GRID).add(shader::COUNT_CUBES),
            Self::CutCubes => text.add(shader::CUT_CUBES),
            Self::ClearCells => text.add(shader::CLEAR_CELLS),
            Self::CountCells => text.add(shader::GRID).add(shader::COUNT_CELLS),
            Self::Scan { used } => text.when("USED", *used).add(shader::SCAN),
            Self::ScanAdd { used } => text.when("USED", *used).add(shader::SCAN_ADD),
            Self::Scatter => text.add(shader::SCATTER),
            Self::Search(search) => search.write(&mut text),
            Self::Sort => text.add(shader::POSITIONS).add(shader::SORT),
            Self::Walk(walk) => walk.write(&mut text),
            Self::Last { record_words, wanted } => {
                text.constant("RECORD_WORDS", *record_words).constant("WANTED", *wanted);
                text.add(shader::POSITIONS).add(shader::LAST)
            }
            Self::Evaluate(evaluate) => evaluate.write(&mut text),
            Self::Place { record_words } => text.constant("RECORD_WORDS", *record_words).add(shader::PLACE),
            Self::Settle(settle) => settle.write(&mut text),
        };
        text.finish()
    }
}

impl Search {
    /// The kernel that all queries go through first; `None` if no kernel can serve them.
    pub(crate) fn first(rule: Rule, subject: Subject, output: Output) -> Option<Self> {
        // Beyond this the kernels' distances end; nearest neighbours that they find lie within anyway.
        let limit = rule.limit.filter(|limit| *limit < u64::from(u32::MAX) - 1);
        let (k, reach, wide) = match (rule.cuts, limit) {
            (true, _) if rule.k > MAX_KERNEL_K => return None,
            (true, None) => (rule.k, Reach::Nearest, false),
            (true, Some(_)) => (rule.k, Reach::NearestWithin, false),
            (false, None) => return None,
            (false, Some(limit)) => (1, Reach::Within, limit >= 1 << 24),
        };
        Some(Self { k: k as u32, rule: reach, wide, turn: Turn::First, subject, output, batch: BATCH })
    }

    /// The kernel for so many queries that the first one left: too far apart for its distances, or with too much around them.
    pub(crate) fn second(self, queries: u32) -> Self {
        let team = match self.rule {
            Reach::Within => matches!(self.output, Output::Records(..) | Output::Beneath(_)),
            _ if self.subject == Subject::Foreign => false,
            _ => queries <= TEAM_QUERIES,
        };
        Self { wide: true, turn: if team { Turn::Team } else { Turn::Far }, ..self }
    }

    /// The kernels that follow the first in the same submission, and in the same distances.
    pub(crate) fn later(self) -> impl Iterator<Item = Self> {
        let turns: &[Turn] = match self.subject {
            _ if !self.is_short() => &[],
            Subject::Foreign => &[Turn::Again, Turn::More, Turn::Last],
            _ => &[Turn::Again, Turn::More, Turn::Crew, Turn::Last],
        };
        turns.iter().map(move |&turn| Self { turn, wide: self.wide || turn == Turn::Crew, ..self })
    }

    /// The kernel before it that finds how far to look, if that is not given.
    pub(crate) fn probe(self) -> Option<Self> {
        let (rule, subject, output) = (Reach::Nearest, Subject::Points, Output::Reaches);
        self.is_short().then_some(Self { rule, turn: Turn::Probe, subject, output, ..self })
    }

    /// Whether it reads what the probes found.
    pub(crate) fn reads_reaches(&self) -> bool {
        self.is_short() && self.turn != Turn::Probe
    }

    /// Whether keys of all that it may have to keep fit registers and ranges.
    pub(crate) fn is_short(&self) -> bool {
        self.rule != Reach::Within && self.k <= QUICK_K
    }

    /// Rows and points that a quick kernel may visit around a query: what takes more would keep others waiting.
    fn most_steps(&self) -> u32 {
        let steps = match self.turn {
            _ if !self.is_quick() => return u32::MAX,
            Turn::First => 25,
            Turn::More => 95,
            _ => 60,
        };
        steps * self.k.max(16)
    }

    /// Whether it compares keys.
    fn is_quick(&self) -> bool {
        self.is_short() && matches!(self.turn, Turn::Probe | Turn::First | Turn::Again | Turn::More)
    }

    fn write<'a>(&self, text: &'a mut Text) -> &'a mut Text {
        let (turn, quick) = (self.turn, self.is_quick());
        let queued = !matches!(turn, Turn::Probe | Turn::First);
        text.when("QUEUED", queued).when("HALO", self.subject == Subject::Core);
        // The slots behind the k-th tell how many points are as far.
        let others = if quick { 2 } else { u32::from(!turn.is_team()) };
        text.when("FOREIGN", self.subject == Subject::Foreign).list(self.k, self.k + others);
        text.batch(self.batch)
            .when("KEYED", quick)
            .when("PROBE", turn == Turn::Probe)
            .when("LAST", turn == Turn::Last);
        text.when("FAR_QUEUED", queued && self.wide).when("REACHES", self.reads_reaches());
        let taken = match turn {
            Turn::Again => "TO_AGAIN",
            Turn::More => "TO_MORE",
            Turn::Crew => "TO_LAST",
            _ => "TO_WIDE",
        };
        let list = shader::QUEUE_LISTS.iter().position(|list| *list == taken);
        text.constant("TAKEN", list.unwrap_or_default() as u32);
        text.when("CREW", turn == Turn::Crew).constant("CREW_TURNS", CREW_TURNS);
        text.constant("TURNS", if turn == Turn::Crew { CREW_TURNS } else { 1 });
        text.when("FIRST", turn == Turn::First).when("MORE", turn == Turn::More);
        text.constant("LOOKS", if turn == Turn::First { 1 } else { LOOKS });
        text.constant(
            "RANGES",
            match turn {
                Turn::More => shader::MOST_KEPT_RANGES,
                _ if quick => shader::KEPT_RANGES,
                _ => shader::RANGES,
            },
        );
        text.constant("MOST_STEPS", self.most_steps());
        text.when("WITHIN", self.rule == Reach::NearestWithin).when("BALL", self.rule == Reach::Within);
        text.add(shader::GRID).add(shader::EXACT);
        text.add(if self.wide { shader::DISTANCE_WIDE } else { shader::DISTANCE_NARROW });
        match self.output {
            Output::Lists => text.constant("LISTED", self.k).when("LISTS", true),
            Output::Counts => text.when("COUNTS", true),
            Output::Fill => text.when("FILL", true),
            Output::Reaches => text.when("LISTS", false),
            Output::Beneath([near, far]) => {
                text.integer("BENEATH_NEAR", near).integer("BENEATH_FAR", far).when("BENEATH", true);
                text.add(shader::DEPTHS)
            }
            Output::Records(needs, scales) => {
                text.shells(scales);
                // A list of 128 and a narrow distance keep sums in 32 bits; a ball has any number of members.
                needs.write_sums(text, self.wide || self.rule == Reach::Within);
                text.add(if scales > 1 || turn.is_team() { shader::MERGE } else { "" })
            }
        };
        text.add(shader::QUEUE).add(shader::QUERY).add(if self.rule == Reach::Within {
            ""
        } else {
            shader::REACH
        });
        text.when("RECORDS", matches!(self.output, Output::Records(..)));
        if !turn.is_team() {
            return text.add(if quick { shader::QUICK } else { shader::SEARCH });
        }
        let team = if self.rule == Reach::Within { shader::BALL_TEAM } else { shader::TEAM };
        text.candidates(shader::FOUND_BY_TEAM).add(shader::TOGETHER).add(team)
    }
}

/// Queries that a workgroup of a crew answers at most: more in all are left to [`Turn::Last`].
pub(super) const CREW_TURNS: u32 = 16;

/// Queries for which there is a workgroup in a crew, and the most of those: each costs time though nothing is left to it.
const CREW_SHARE: u32 = 256;
const MOST_IN_CREW: u32 = 4096;

/// Workgroups of the crew for what is left of so many queries.
pub(super) fn crew(queries: u32) -> u32 {
    queries.div_ceil(CREW_SHARE).min(MOST_IN_CREW)
}

impl Turn {
    /// Whether a workgroup answers each query.
    fn is_team(self) -> bool {
        matches!(self, Self::Crew | Self::Team)
    }
}

/// Candidates that enter a list together: of more, networks gain little, and rows end before they are through. Software
/// adapters compute no faster in larger batches, and take minutes more to compile the tests' shaders.
pub(crate) const BATCH: u32 = 8;
pub(super) const SOFTWARE_BATCH: u32 = 2;

/// How often the quick kernel looks around those that one look was not enough for.
const LOOKS: u32 = 6;

/// Longest list that is found by keys: 64 gained a tenth, and shaders with so many slots take long to compile.
const QUICK_K: u32 = 32;

/// Queries for whose nearest neighbours teams look: of more, each lane has enough of its own to do.
const TEAM_QUERIES: u32 = 1 << 16;

impl Needs {
    /// The functions that sum members up and write a record.
    fn write_sums(self, text: &mut Text, wide: bool) {
        text.when("PLANE", self.plane).when("DISTANCE_SUM", self.distance_sum);
        text.when("EXTENT", self.extent).constant("RECORD_WORDS", self.record_words());
        text.add(if wide { shader::SQUARES_WIDE } else { shader::SQUARES_NARROW });
        text.add(shader::SUMS).add(shader::RECORD);
    }
}

impl Walk {
    fn write<'a>(&self, text: &'a mut Text) -> &'a mut Text {
        let scales = match self.ends {
            WalkEnds::Counts(n, _) | WalkEnds::Limits(n) => n,
        };
        text.constant("SCALES", scales).when("FOREIGN", self.foreign);
        text.when("COUNTS", matches!(self.ends, WalkEnds::Counts(1.., _)));
        text.when("LIMITS", matches!(self.ends, WalkEnds::Limits(_)));
        text.when("OPTIMAL", matches!(self.ends, WalkEnds::Counts(_, true)));
        text.add(shader::EXACT);
        self.needs.write_sums(text, true);
        text.add(shader::EIGEN).add(shader::POSITIONS).add(shader::WALK)
    }
}

impl Evaluate {
    fn write<'a>(&self, text: &'a mut Text) -> &'a mut Text {
        text.when("PLANE", self.needs.plane).when("EXTENT", self.needs.extent).when("COLOR", self.color);
        text.constant("RECORD_WORDS", self.needs.record_words());
        let columns = self.features.iter().enumerate().map(|(i, feature)| {
            let (column, name) = (i + 1, feature.name());
            format!("    columns[{column}u * scale.stride + record] = bitcast<u32>(feature_{name}(s));\n")
        });
        text.columns(columns.collect());
        let first = 2 * usize::from(self.color);
        let extras = self.extras.iter().enumerate().map(|(i, extra)| {
            let (column, field) = (first + i, extra.field());
            format!("    s.{field} = bitcast<f32>(attributes[{column}u * scale.rows + row]);\n")
        });
        text.extras(extras.collect());
        text.float("LEAST_REACH", LEAST_REACH as f32);
        text.add(shader::EIGEN).add(shader::FEATURES).add(shader::EVALUATE);
        if self.members.any() {
            self.write_members(text);
        }
        text
    }

    fn write_members(&self, text: &mut Text) {
        let payload = Payload::of(self.members);
        let (names, words) = payload.parts();
        for name in names {
            text.when(name, true);
        }
        for (name, word) in words {
            text.constant(name, word);
        }
        text.when("MEMBERS", true).when("PAYLOAD", payload.words() > 0);
        text.constant("PAYLOAD_WORDS", payload.words().max(1));
        text.float("RIDGE", RIDGE as f32);
        text.add(shader::EXACT).add(shader::POSITIONS).add(shader::MEMBERS);
    }
}

/// The uniform blocks, by their WGSL names, for the layout test.
#[cfg(test)]
pub(crate) const UNIFORMS: &[(&str, usize)] = &[
    ("Grid", size_of::<Grid>()),
    ("Batch", size_of::<super::layout::Batch>()),
    ("Scale", size_of::<Scale>()),
];
