//! What a rewrite changed, line by line.

/// A line of one body that the other has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed<'b> {
    Gone(&'b str),
    Come(&'b str),
}

/// A longest common subsequence stays.
pub fn diff<'b>(before: &'b str, after: &'b str) -> Vec<Changed<'b>> {
    let (before, after): (Vec<_>, Vec<_>) = (before.lines().collect(), after.lines().collect());
    let mut common = vec![vec![0; after.len() + 1]; before.len() + 1];
    for old in (0..before.len()).rev() {
        for new in (0..after.len()).rev() {
            common[old][new] = match before[old] == after[new] {
                true => common[old + 1][new + 1] + 1,
                false => common[old + 1][new].max(common[old][new + 1]),
            };
        }
    }
    let (mut old, mut new, mut changed) = (0, 0, Vec::new());
    while old < before.len() || new < after.len() {
        if before.get(old).is_some() && before.get(old) == after.get(new) {
            (old, new) = (old + 1, new + 1);
        } else if new == after.len() || (old < before.len() && common[old + 1][new] >= common[old][new + 1]) {
            changed.push(Changed::Gone(before[old]));
            old += 1;
        } else {
            changed.push(Changed::Come(after[new]));
            new += 1;
        }
    }
    changed
}
