/// How the key of a long-term credential is made from username, realm and password (RFC 8489 §18.5).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum PasswordAlgorithm {
    /// For peers that know only RFC 5389.
    Md5,
    /// The default of RFC 8489.
    Sha256,
}

impl PasswordAlgorithm {
    /// Its number in the IANA registry.
    pub fn number(self) -> u16 {
        match self {
            Self::Md5 => 1,
            Self::Sha256 => 2,
        }
    }

    /// The algorithm of an entry. Neither of ours has parameters, so one with parameters is another.
    pub fn from_entry(number: u16, parameters: &[u8]) -> Option<Self> {
        match (number, parameters) {
            (1, []) => Some(Self::Md5),
            (2, []) => Some(Self::Sha256),
            _ => None,
        }
    }
}

/// The value of PASSWORD-ALGORITHMS (RFC 8489 §14.11): numbers and parameters, in the server's order of
/// preference.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PasswordAlgorithms<'a>(&'a [u8]);

impl<'a> PasswordAlgorithms<'a> {
    pub(crate) fn new(value: &'a [u8]) -> Self {
        Self(value)
    }

    /// The value as it came: what a client has to send back unchanged.
    pub fn raw(&self) -> &'a [u8] {
        self.0
    }

    /// The entries: number and parameters. A malformed end is left out.
    pub fn entries(&self) -> impl Iterator<Item = (u16, &'a [u8])> + use<'a> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let (number, parameters, after) = split_entry(rest)?;
            rest = after;
            Some((number, parameters))
        })
    }

    /// The algorithms that we have, in the server's order.
    pub fn supported(&self) -> impl Iterator<Item = PasswordAlgorithm> + use<'a> {
        self.entries().filter_map(|(number, parameters)| PasswordAlgorithm::from_entry(number, parameters))
    }
}

/// The first entry of a list, and what follows it. The padding of the last may be missing.
pub(crate) fn split_entry(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let &[n0, n1, l0, l1, ref rest @ ..] = bytes else { return None };
    let length = usize::from(u16::from_be_bytes([l0, l1]));
    let parameters = rest.get(..length)?;
    let after = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    Some((u16::from_be_bytes([n0, n1]), parameters, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_with_their_parameters_and_unknown_ones_skipped() {
        let value = [0, 9, 0, 3, b'a', b'b', b'c', 0, 0, 2, 0, 0, 0, 1, 0, 0];
        let algorithms = PasswordAlgorithms::new(&value);
        assert_eq!(algorithms.entries().collect::<Vec<_>>(), [(9, &b"abc"[..]), (2, &[]), (1, &[])]);
        assert_eq!(
            algorithms.supported().collect::<Vec<_>>(),
            [PasswordAlgorithm::Sha256, PasswordAlgorithm::Md5]
        );
    }

    #[test]
    fn a_malformed_list_ends_where_it_breaks() {
        for (value, count) in
            [(&[][..], 0), (&[0, 2, 0], 0), (&[0, 2, 0, 0, 0, 1], 1), (&[0, 2, 0xff, 0xff], 0)]
        {
            assert_eq!(PasswordAlgorithms::new(value).entries().count(), count, "{value:?}");
        }
    }
}
