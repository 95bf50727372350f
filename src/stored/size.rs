//! What an allocation takes of the process's memory.

/// What an allocation of so many bytes takes: allocators keep blocks of a few sizes, jemalloc (Larder's own) and
/// mimalloc multiples of 16 bytes up to 128, and beyond that four sizes for each doubling.
pub(crate) fn taken(bytes: usize) -> u64 {
    if bytes == 0 {
        return 0;
    }
    let step = match bytes {
        ..=128 => 16,
        _ => (bytes - 1).checked_ilog2().map_or(16, |log| 1 << (log - 2)),
    };
    bytes.next_multiple_of(step) as u64
}

/// The same behind an `Arc`, which has two counters.
pub(crate) fn taken_by_arc(bytes: usize) -> u64 {
    taken(bytes + 2 * size_of::<usize>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allocation_takes_the_next_of_four_sizes_for_each_doubling() {
        let sizes = [0, 1, 16, 17, 120, 128, 129, 160, 161, 256, 257, 320, 1024, 1025, 1280, 1281, 65_537];
        let taken = sizes.map(taken);
        let next = [0, 16, 16, 32, 128, 128, 160, 160, 192, 256, 320, 320, 1024, 1280, 1280, 1536, 81_920];
        assert_eq!(taken, next);
        assert_eq!(taken_by_arc(100), 128);
    }
}
