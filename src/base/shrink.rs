//! When a table gives memory back that it no longer needs.

/// True if a table that has just lost an entry should shrink: rarely enough for its cost to be spread over what was removed,
/// and before it holds many times what it needs.
pub fn should_shrink(len: usize, capacity: usize) -> bool {
    (len == 0 || len.is_power_of_two()) && capacity > 64.max(4 * len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_that_empties_shrinks_a_few_times_on_its_way() {
        let mut capacity = 100_000;
        let mut times = 0;
        for len in (0..100_000).rev() {
            if should_shrink(len, capacity) {
                capacity = 2 * len;
                times += 1;
            }
            assert!(capacity <= 64.max(16 * len), "{capacity} for {len}");
        }
        assert!(times <= 20, "{times}");
    }
}
