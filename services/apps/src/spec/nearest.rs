//! The known word nearest to a mistyped one (Damerau-Levenshtein, optimal string alignment). Pure.

/// The nearest of some words, if it is near enough to be meant.
pub(crate) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let far = word.len() / 2 + 1;
    known
        .iter()
        .map(|candidate| (distance(word, candidate), *candidate))
        .filter(|(distance, _)| *distance <= far)
        .min()
        .map(|(_, candidate)| candidate)
}

fn distance(one: &str, other: &str) -> usize {
    let one: Vec<char> = one.chars().take(64).collect();
    let other: Vec<char> = other.chars().take(64).collect();
    let mut table = vec![vec![0; other.len() + 1]; one.len() + 1];
    table[0] = (0..=other.len()).collect();
    for (row, line) in table.iter_mut().enumerate() {
        line[0] = row;
    }
    for i in 1..=one.len() {
        for j in 1..=other.len() {
            let cost = usize::from(one[i - 1] != other[j - 1]);
            let mut best = (table[i - 1][j] + 1)
                .min(table[i][j - 1] + 1)
                .min(table[i - 1][j - 1] + cost);
            if i > 1 && j > 1 && one[i - 1] == other[j - 2] && one[i - 2] == other[j - 1] {
                best = best.min(table[i - 2][j - 2] + 1);
            }
            table[i][j] = best;
        }
    }
    table[one.len()][other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_key_finds_the_meant_one() {
        let known = ["guest_port", "name", "flow", "protocol"];
        assert_eq!(nearest("guest_prot", &known), Some("guest_port"));
        assert_eq!(nearest("proto", &known), Some("protocol"));
        assert_eq!(nearest("zzzzzzzzzzzz", &known), None);
    }
}
