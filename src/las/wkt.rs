//! As much of well-known text as says which unit of length a coordinate reference system has.

/// `KEYWORD[..]`: what stands between the brackets, in order.
#[derive(Debug)]
struct Node<'a> {
    keyword: &'a str,
    numbers: Vec<f64>,
    children: Vec<Node<'a>>,
}

/// Deepest nesting that is followed; real systems nest some ten levels.
const DEEPEST: usize = 64;

/// Lengths in metres of the horizontal and vertical unit, where the text states them, and whether it describes
/// longitude and latitude only.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Lengths {
    pub(super) horizontal: Option<f64>,
    pub(super) vertical: Option<f64>,
    pub(super) is_geographic: bool,
}

/// Reads WKT 1 or 2; what is no WKT states nothing.
pub(super) fn lengths(text: &str) -> Lengths {
    let mut parser = Parser { rest: text };
    let Some(root) = parser.node(DEEPEST) else { return Lengths::default() };
    let projected = root.find(&["PROJCS", "PROJCRS", "PROJECTEDCRS"]);
    let vertical = root.find(&["VERT_CS", "VERTCRS", "VERTICALCRS"]);
    let geographic = root.find(&["GEOGCS", "GEOGCRS", "GEOGRAPHICCRS"]);
    Lengths {
        horizontal: projected.and_then(Node::length),
        vertical: vertical.and_then(Node::length),
        is_geographic: projected.is_none() && geographic.is_some(),
    }
}

impl<'a> Node<'a> {
    fn is(&self, keywords: &[&str]) -> bool {
        keywords.iter().any(|k| self.keyword.eq_ignore_ascii_case(k))
    }

    /// The first node with one of these keywords, itself or below.
    fn find(&self, keywords: &[&str]) -> Option<&Self> {
        if self.is(keywords) {
            return Some(self);
        }
        self.children.iter().find_map(|child| child.find(keywords))
    }

    /// The unit of the system itself, or else of its first axis that has one; units of its parts do not count.
    fn length(&self) -> Option<f64> {
        let own = |node: &Self| {
            let unit = node.children.iter().find(|c| c.is(&["UNIT", "LENGTHUNIT"]))?;
            unit.numbers.first().copied()
        };
        own(self).or_else(|| self.children.iter().filter(|c| c.is(&["AXIS"])).find_map(own))
    }
}

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start_matches(|c: char| c.is_whitespace() || c == '\0');
    }

    /// Takes `c` if it comes next.
    fn take(&mut self, c: char) -> bool {
        self.skip_space();
        let rest = self.rest.strip_prefix(c);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// Letters, digits and what else numbers and keywords are made of.
    fn word(&mut self) -> &'a str {
        self.skip_space();
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '+' | '-' | '.');
        let end = self.rest.find(|c| !is_part(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    /// Text in quotes; two quotes within stand for one and are passed over.
    fn quoted(&mut self) -> bool {
        if !self.take('"') {
            return false;
        }
        loop {
            let Some(end) = self.rest.find('"') else {
                self.rest = "";
                return true;
            };
            self.rest = &self.rest[end + 1..];
            match self.rest.strip_prefix('"') {
                Some(rest) => self.rest = rest,
                None => return true,
            }
        }
    }

    fn node(&mut self, depth: usize) -> Option<Node<'a>> {
        let keyword = self.word();
        if keyword.is_empty() || depth == 0 || !(self.take('[') || self.take('(')) {
            return None;
        }
        let mut node = Node { keyword, numbers: Vec::new(), children: Vec::new() };
        loop {
            self.argument(&mut node, depth)?;
            if self.take(']') || self.take(')') {
                return Some(node);
            }
            if !self.take(',') {
                return None;
            }
        }
    }

    fn argument(&mut self, node: &mut Node<'a>, depth: usize) -> Option<()> {
        if self.quoted() {
            return Some(());
        }
        let before = self.rest;
        let word = self.word();
        self.skip_space();
        if self.rest.starts_with(['[', '(']) {
            self.rest = before;
            node.children.push(self.node(depth - 1)?);
        } else {
            node.numbers.extend(word.parse::<f64>().ok());
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> (Option<f64>, Option<f64>) {
        let lengths = lengths(text);
        (lengths.horizontal, lengths.vertical)
    }

    #[test]
    fn first_version() {
        let oregon = r#"PROJCS["NAD83(HARN) / Oregon GIC Lambert (ft)",GEOGCS["NAD83(HARN)",DATUM["d",
            SPHEROID["GRS 1980",6378137,298.257222101,AUTHORITY["EPSG","7019"]]],
            UNIT["degree",0.0174532925199433]],PROJECTION["Lambert_Conformal_Conic_2SP"],
            PARAMETER["false_easting",1312335.958],UNIT["foot",0.3048,AUTHORITY["EPSG","9002"]],AXIS["X",EAST]]"#;
        assert_eq!(of(oregon), (Some(0.3048), None));
        let compound = format!(
            r#"COMPD_CS["a ""quoted"" name",{oregon},VERT_CS["NAVD88",VERT_DATUM["n",2005],UNIT["m",1.0]]]"#
        );
        assert_eq!(of(&compound), (Some(0.3048), Some(1.0)));
    }

    #[test]
    fn second_version() {
        let own = r#"PROJCRS["x",BASEGEOGCRS["g",DATUM["d",ELLIPSOID["e",6378137,298,LENGTHUNIT["metre",1]]]],
            CONVERSION["c",PARAMETER["Easting",2,LENGTHUNIT["metre",1]]],CS[Cartesian,2],AXIS["E",east],
            AXIS["N",north],LENGTHUNIT["US survey foot",0.304800609601219],ID["EPSG",2154]]"#;
        assert_eq!(of(own), (Some(0.304800609601219), None));
        let axes = r#"COMPOUNDCRS["y",PROJCRS["x",BASEGEOGCRS["g",DATUM["d",ELLIPSOID["e",1,2,LENGTHUNIT["metre",1]]]],
            CS[Cartesian,2],AXIS["E",east,ORDER[1],LENGTHUNIT["foot",0.3048]]],
            VERTCRS["z",VDATUM["v"],CS[vertical,1],AXIS["H",up,LENGTHUNIT["metre",1]]]]"#;
        assert_eq!(of(axes), (Some(0.3048), Some(1.0)));
        let round = "PROJCS(\"x\" , UNIT (\"m\", 1 ) )\0\0";
        assert_eq!(of(round), (Some(1.0), None));
    }

    #[test]
    fn degrees_are_no_length() {
        let geographic = lengths(r#"GEOGCS["WGS 84",DATUM["d",SPHEROID["s",1,2]],UNIT["degree",0.0174]]"#);
        assert_eq!(geographic, Lengths { is_geographic: true, ..Lengths::default() });
    }

    #[test]
    fn what_is_no_wkt_states_nothing() {
        let deep = "A[".repeat(100_000);
        let nested = format!("{}PROJCS[UNIT[1]]{}", "A[".repeat(DEEPEST), "]".repeat(DEEPEST));
        for text in
            ["", "PROJCS", "PROJCS[", "PROJCS[\"a", "PROJCS[UNIT[\"m\",1]", "]", "[[", "é[1]", &deep, &nested]
        {
            assert_eq!(of(text), (None, None), "{:.20}", text);
        }
        assert_eq!(of("PROJCS[\"made up\"]\0"), (None, None));
    }
}
