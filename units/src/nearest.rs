//! "Did you mean": the candidate that takes the fewest slips of the finger.

/// The nearest candidate, if it is near enough to be meant: a third of the characters may differ.
pub fn nearest<'c>(text: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    // Nobody types this by mistake, and the distance takes quadratic time.
    if text.len() > 64 {
        return None;
    }
    let lower = text.to_lowercase();
    let limit = |candidate: &str| candidate.chars().count().max(lower.chars().count()).div_ceil(3);
    candidates
        .into_iter()
        .map(|candidate| (distance(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= limit(candidate))
        .min()
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions, replacements and swaps of neighbours between two texts (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    let mut previous = None;
    for (row, x) in a.chars().enumerate() {
        let mut line = vec![row + 1];
        for (column, y) in b.iter().enumerate() {
            let at = |line: &[usize], column: usize| line.get(column).copied().unwrap_or(usize::MAX - 1);
            let replaced = at(&last, column) + usize::from(x != *y);
            let mut best = replaced.min(at(&last, column + 1) + 1).min(at(&line, column) + 1);
            let swapped = previous == Some(*y) && column.checked_sub(1).and_then(|c| b.get(c)) == Some(&x);
            if swapped {
                best = best.min(at(&before, column - 1) + 1);
            }
            line.push(best);
        }
        before = std::mem::replace(&mut last, line);
        previous = Some(x);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips() {
        for (a, b, slips) in [
            ("", "", 0),
            ("", "ab", 2),
            ("memroy", "memory", 1),
            ("max", "mix", 1),
            ("abc", "ab", 1),
            ("ca", "abc", 3),
        ] {
            assert_eq!(distance(a, b), slips, "{a} {b}");
            assert_eq!(distance(b, a), slips, "{b} {a}");
        }
    }

    #[test]
    fn near_enough() {
        let keys = ["memory", "cpu", "mounts", "image"];
        for (text, found) in [
            ("memroy", Some("memory")),
            ("Memory", Some("memory")),
            ("mount", Some("mounts")),
            ("zebra", None),
            ("", None),
        ] {
            assert_eq!(nearest(text, keys), found, "{text}");
        }
    }
}
