//! A client's hello before anything is answered to it.
//!
//! Browsers' hellos come in two datagrams, either of which may be first, and anybody may send something that looks
//! like a part of one. The engine keeps such a part and stumbles over it at the very end of the handshake; it is
//! therefore shown hellos only when they are whole, and is replaced when it does not answer.

use crate::record;

/// Hellos that are collected at the same time.
const MOST: usize = 4;
/// Datagrams of one hello. Browsers need two.
const MOST_DATAGRAMS: usize = 16;
/// Bytes of one hello. Browsers need less than 2,000.
const LONGEST: usize = 16 * 1024;

/// Hellos of which parts are here.
#[derive(Debug, Default)]
pub(crate) struct Hellos(Vec<Partial>);

#[derive(Debug)]
struct Partial {
    /// The message's number and length, which all its fragments tell.
    message: u16,
    length: usize,
    /// The first byte that each datagram covers, and the datagram.
    datagrams: Vec<(usize, Vec<u8>)>,
    /// What is covered, as ranges.
    covered: Vec<(usize, usize)>,
}

impl Partial {
    fn is_whole(&mut self) -> bool {
        self.covered.sort_unstable();
        self.covered.iter().fold(0, |end, &(from, to)| if from <= end { end.max(to) } else { end })
            == self.length
    }
}

impl Hellos {
    /// Takes a datagram. Returns the datagrams of a hello that is now whole, in order.
    pub(crate) fn add(&mut self, datagram: &[u8]) -> Option<Vec<Vec<u8>>> {
        let fragments: Vec<record::Fragment> = record::fragments(datagram).collect();
        let first = *fragments.first()?;
        let is_hello = |fragment: &record::Fragment| {
            fragment.kind == record::CLIENT_HELLO
                && (fragment.message, fragment.length) == (first.message, first.length)
        };
        if first.length > LONGEST || !fragments.iter().all(is_hello) {
            return None;
        }
        let known = |partial: &Partial| (partial.message, partial.length) == (first.message, first.length);
        let at = self.0.iter().position(known).unwrap_or_else(|| {
            if self.0.len() >= MOST {
                self.0.remove(0);
            }
            self.0.push(Partial {
                message: first.message,
                length: first.length,
                datagrams: Vec::new(),
                covered: Vec::new(),
            });
            self.0.len() - 1
        });
        let partial = &mut self.0[at];
        partial.covered.extend(fragments.iter().map(|fragment| (fragment.from, fragment.to)));
        partial.datagrams.push((first.from, datagram.to_vec()));
        if partial.is_whole() {
            let mut datagrams = self.0.remove(at).datagrams;
            datagrams.sort();
            return Some(datagrams.into_iter().map(|(_, datagram)| datagram).collect());
        }
        if partial.datagrams.len() >= MOST_DATAGRAMS {
            self.0.remove(at);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A datagram with bytes `from..to` of a hello of `length` bytes.
    fn part(message: u8, length: u8, from: u8, to: u8) -> Vec<u8> {
        let body = to - from;
        let mut datagram = vec![22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, from, 0, 12 + body];
        datagram.extend([1, 0, 0, length, 0, message, 0, 0, from, 0, 0, body]);
        datagram.extend((from..to).collect::<Vec<u8>>());
        datagram
    }

    #[test]
    fn a_whole_hello_passes_at_once_and_parts_in_any_order() {
        let mut hellos = Hellos::default();
        assert_eq!(hellos.add(&part(0, 9, 0, 9)), Some(vec![part(0, 9, 0, 9)]));
        assert_eq!(hellos.add(&part(0, 9, 5, 9)), None);
        assert_eq!(hellos.add(&part(0, 9, 5, 9)), None, "twice the same is not the whole");
        assert_eq!(hellos.add(&part(0, 8, 0, 5)), None, "a part of another one");
        let whole = hellos.add(&part(0, 9, 0, 5)).unwrap();
        assert_eq!(whole, [part(0, 9, 0, 5), part(0, 9, 5, 9), part(0, 9, 5, 9)]);
    }

    #[test]
    fn what_is_no_hello_is_not_kept_and_the_rest_is_bounded() {
        let mut hellos = Hellos::default();
        let mut other = part(0, 9, 0, 5);
        other[13] = 11;
        assert_eq!(hellos.add(&other), None);
        assert!(hellos.0.is_empty());
        for length in 10..200 {
            assert_eq!(hellos.add(&part(0, length, 1, 9)), None);
        }
        assert_eq!(hellos.0.len(), MOST);
        for _ in 0..100 {
            assert_eq!(hellos.add(&part(0, 9, 1, 9)), None);
        }
        assert!(hellos.0.iter().all(|partial| partial.datagrams.len() < MOST_DATAGRAMS));
    }
}
