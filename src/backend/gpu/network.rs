//! Merging networks: how a few newcomers enter a sorted list of named scalars, as text.
//!
//! One newcomer takes a `min` and a `max` a slot. Several that are sorted first and merged with the list by Batcher's
//! odd-even merge (Knuth, The Art of Computer Programming 3, 5.3.4) take half of that each, or less, without a branch.

use std::fmt::Write as _;

/// Puts the smaller of two wires on the first.
type Comparator = (usize, usize);

/// Statements that leave the `slots` smallest of `s0 <= s1 <= ..` and of `key0`, `key1`, .. in the former, sorted.
pub(super) fn merge(slots: u32, newcomers: u32) -> String {
    let (slots, newcomers) = (slots as usize, newcomers as usize);
    let (steps, order) = network(slots, newcomers);
    let mut wires: Vec<String> = (0..slots).map(|i| format!("s{i}")).collect();
    wires.extend((0..newcomers).map(|i| format!("key{i}")));
    let mut out = String::new();
    // Writing to a String cannot fail.
    for (at, (step, [low, high])) in steps.iter().enumerate() {
        let (a, b) = (wires[step.0].clone(), wires[step.1].clone());
        if *low {
            let _ = writeln!(out, "let a{at} = min({a}, {b});");
            wires[step.0] = format!("a{at}");
        }
        if *high {
            let _ = writeln!(out, "let b{at} = max({a}, {b});");
            wires[step.1] = format!("b{at}");
        }
    }
    for (slot, wire) in order.iter().enumerate().filter(|(slot, wire)| wires[**wire] != format!("s{slot}")) {
        let _ = writeln!(out, "s{slot} = {};", wires[*wire]);
    }
    out
}

/// Comparators in their order, each with which of its results are used, and the wires of the slots in the end.
fn network(slots: usize, newcomers: usize) -> (Vec<(Comparator, [bool; 2])>, Vec<usize>) {
    let mut all = Vec::new();
    let sorted = sort(&(slots..slots + newcomers).collect::<Vec<_>>(), &mut all);
    let mut order = merged(&(0..slots).collect::<Vec<_>>(), &sorted, &mut all);
    order.truncate(slots);
    let mut used = vec![false; slots + newcomers];
    order.iter().for_each(|&wire| used[wire] = true);
    let mut steps = Vec::new();
    for &(low, high) in all.iter().rev() {
        let own = [used[low], used[high]];
        if own != [false; 2] {
            (used[low], used[high]) = (true, true);
            steps.push(((low, high), own));
        }
    }
    steps.reverse();
    (steps, order)
}

fn sort(wires: &[usize], out: &mut Vec<Comparator>) -> Vec<usize> {
    if wires.len() < 2 {
        return wires.to_vec();
    }
    let (a, b) = wires.split_at(wires.len() / 2);
    let (a, b) = (sort(a, out), sort(b, out));
    merged(&a, &b, out)
}

/// Merges two sorted sequences: those at even places, those at odd places, and neighbours of the two results.
fn merged(a: &[usize], b: &[usize], out: &mut Vec<Comparator>) -> Vec<usize> {
    match (a, b) {
        ([], other) | (other, []) => return other.to_vec(),
        (&[a], &[b]) => {
            out.push((a, b));
            return vec![a, b];
        }
        _ => {}
    }
    let every_other =
        |of: &[usize], first: usize| of.iter().skip(first).step_by(2).copied().collect::<Vec<_>>();
    let even = merged(&every_other(a, 0), &every_other(b, 0), out);
    let odd = merged(&every_other(a, 1), &every_other(b, 1), out);
    let mut order = vec![even[0]];
    for i in 0..odd.len().max(even.len() - 1) {
        if let (Some(&low), Some(&high)) = (odd.get(i), even.get(i + 1)) {
            out.push((low, high));
        }
        order.extend(odd.get(i));
        order.extend(even.get(i + 1));
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A network that is right for zeros and ones is right for all numbers.
    #[test]
    fn every_list_and_every_newcomers_are_merged() {
        for slots in 1..=34 {
            for newcomers in 1..=8 {
                let (steps, order) = network(slots, newcomers);
                for ones in 0..=slots {
                    for bits in 0u32..1 << newcomers {
                        let mut wires: Vec<u32> = (0..slots).map(|i| u32::from(i >= slots - ones)).collect();
                        wires.extend((0..newcomers).map(|i| bits >> i & 1));
                        let mut expected = wires.clone();
                        expected.sort_unstable();
                        for &((a, b), [low, high]) in &steps {
                            let (smaller, larger) = (wires[a].min(wires[b]), wires[a].max(wires[b]));
                            // What is not used is never looked at again.
                            wires[a] = if low { smaller } else { 9 };
                            wires[b] = if high { larger } else { 9 };
                        }
                        let got: Vec<u32> = order.iter().map(|&wire| wires[wire]).collect();
                        assert_eq!(got, expected[..slots], "{slots} slots, {ones} ones, {bits:b}");
                    }
                }
            }
        }
    }

    #[test]
    fn several_newcomers_take_less_than_one_by_one() {
        let results = |slots, newcomers| -> usize {
            network(slots, newcomers)
                .0
                .iter()
                .map(|(_, [low, high])| usize::from(*low) + usize::from(*high))
                .sum()
        };
        assert_eq!([results(18, 1), results(18, 4), results(18, 8)], [35, 78, 120]);
        assert_eq!([results(34, 1), results(34, 4), results(34, 8)], [67, 142, 200]);
    }

    #[test]
    fn a_list_of_one_is_the_least() {
        assert_eq!(merge(1, 1), "let a0 = min(s0, key0);\ns0 = a0;\n");
    }
}
