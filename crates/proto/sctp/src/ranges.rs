/// A set of numbers as sorted ranges that neither touch nor overlap.
///
/// Work depends on how many ranges there are, and not on how long they are: it holds what a SACK says, and what a SACK
/// will say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ranges(Vec<Range>);

/// First and last number, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) first: u64,
    pub(crate) last: u64,
}

impl Ranges {
    /// Adds the numbers from `first` to `last`, and hands over the pieces that were not in the set before, in order.
    pub(crate) fn insert(&mut self, first: u64, last: u64, is_new: impl FnMut(Range)) {
        self.insert_from(0, first, last, is_new);
    }

    /// The same, if what was inserted just before was not above it: `near` is what that returned. So a list in order costs
    /// no search.
    pub(crate) fn insert_from(
        &mut self,
        near: usize,
        first: u64,
        last: u64,
        mut is_new: impl FnMut(Range),
    ) -> usize {
        if last < first {
            return near;
        }
        // The ranges from `from` up to `to` touch or overlap the new one.
        let reaches = |range: &Range| range.last + 1 >= first;
        let rest = &self.0[near..];
        let from = near
            + match rest {
                [] => 0,
                [.., range] if !reaches(range) => rest.len(),
                [.., range] if range.first <= first => rest.len() - 1,
                [range, ..] if reaches(range) => 0,
                [_, range, ..] if reaches(range) => 1,
                _ => rest.partition_point(|range| !reaches(range)),
            };
        let mut to = from;
        let mut next = first;
        let mut merged = Range { first, last };
        while let Some(range) = self.0.get(to).filter(|range| range.first <= last + 1) {
            if next < range.first {
                is_new(Range { first: next, last: range.first - 1 });
            }
            next = next.max(range.last + 1);
            merged = Range { first: merged.first.min(range.first), last: merged.last.max(range.last) };
            to += 1;
        }
        if next <= last {
            is_new(Range { first: next, last });
        }
        if to == from + 1 {
            self.0[from] = merged;
        } else {
            self.0.splice(from..to, [merged]);
        }
        from
    }

    /// Whether a number is in the set.
    pub(crate) fn contains(&self, number: u64) -> bool {
        let at = self.0.partition_point(|range| range.last < number);
        self.0.get(at).is_some_and(|range| range.first <= number)
    }

    /// Removes all numbers below `bound`.
    pub(crate) fn remove_below(&mut self, bound: u64) {
        if self.0.first().is_none_or(|range| range.first >= bound) {
            return;
        }
        let gone = self.0.partition_point(|range| range.last < bound);
        self.0.drain(..gone);
        if let Some(range) = self.0.first_mut() {
            range.first = range.first.max(bound);
        }
    }

    /// Removes the range that begins with `first`, if there is one, and returns its last number.
    pub(crate) fn take_from(&mut self, first: u64) -> Option<u64> {
        let range = *self.0.first().filter(|range| range.first == first)?;
        self.0.remove(0);
        Some(range.last)
    }

    /// The ranges that begin above a number.
    pub(crate) fn iter_above(&self, number: u64) -> impl Iterator<Item = Range> {
        self.0[self.0.partition_point(|range| range.first <= number)..].iter().copied()
    }

    /// How many ranges there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// The largest number.
    pub(crate) fn last(&self) -> Option<u64> {
        self.0.last().map(|range| range.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn lists_in_order_are_the_same_without_search(lists in prop::collection::vec(prop::collection::vec((1..9u64, 0..6u64), 0..12), 1..8)) {
            let (mut ranges, mut other) = (Ranges::default(), Ranges::default());
            for list in lists {
                let (mut at, mut near) = (0, 0);
                for (gap, length) in list {
                    let (mut new, mut wanted) = (Vec::new(), Vec::new());
                    near = ranges.insert_from(near, at + gap, at + gap + length, |piece| new.push(piece));
                    other.insert(at + gap, at + gap + length, |piece| wanted.push(piece));
                    prop_assert_eq!(new, wanted);
                    at += gap + length;
                }
                prop_assert_eq!(&ranges, &other);
            }
        }

        #[test]
        fn it_is_a_set_of_numbers(operations in prop::collection::vec((0..120u64, 0..20u64, 0..8u8), 1..80)) {
            let (mut ranges, mut model) = (Ranges::default(), BTreeSet::new());
            for (first, length, what) in operations {
                match what {
                    0 => {
                        ranges.remove_below(first);
                        model.retain(|number| *number >= first);
                    }
                    1 => {
                        let mut next = first;
                        while model.first() == Some(&first) || (next > first && model.first() == Some(&next)) {
                            model.remove(&next);
                            next += 1;
                            if next == first + 1 && model.first() != Some(&next) { break; }
                        }
                        let last = ranges.take_from(first);
                        prop_assert_eq!(last, next.checked_sub(1).filter(|last| *last >= first));
                    }
                    _ => {
                        let mut new = Vec::new();
                        ranges.insert(first, first + length, |piece| new.extend(piece.first..=piece.last));
                        let wanted: Vec<u64> = (first..=first + length).filter(|number| model.insert(*number)).collect();
                        prop_assert_eq!(new, wanted);
                    }
                }
                let numbers: Vec<u64> = ranges.0.iter().flat_map(|range| range.first..=range.last).collect();
                prop_assert_eq!(&numbers, &model.iter().copied().collect::<Vec<_>>());
                let touching = ranges.0.windows(2).any(|pair| pair[0].last + 1 >= pair[1].first);
                prop_assert!(!touching);
                prop_assert_eq!(ranges.contains(first), model.contains(&first));
                prop_assert_eq!(ranges.last(), model.last().copied());
            }
        }
    }
}
