use std::net::SocketAddr;

/// The longest stride between two mappings made one after another that passes for counting: others behind the same box
/// may have taken the ports between.
const MAX_STRIDE: i32 = 16;
/// The least outer port that boxes give out.
const MIN_PORT: i32 = 1024;

/// By which rule a NAT seems to choose the outer ports of new mappings (RFC 4787 §4.2), as far as that helps to foresee
/// the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Allocation {
    /// The first mapping of a socket has the socket's own port.
    Preserving,
    /// So much more than the one before.
    Sequential(i32),
    /// No rule shows: at random, or as good as that.
    Scattered,
}

impl Allocation {
    /// The rule behind first mappings of fresh sockets, in the order in which they were made: local port, outer port.
    pub(crate) fn of(mappings: &[(u16, u16)]) -> Self {
        if mappings.iter().all(|(local, outer)| local == outer) {
            return Self::Preserving;
        }
        let ports = mappings.iter().map(|(_, outer)| i32::from(*outer));
        let strides: Vec<i32> = ports.clone().skip(1).zip(ports).map(|(next, last)| next - last).collect();
        let counts = |up: bool| strides.iter().all(|it| (*it > 0) == up && it.abs() <= MAX_STRIDE);
        match strides.iter().min_by_key(|stride| stride.abs()) {
            // Different strides: somebody else has taken ports between, and the box counts one by one.
            Some(least) if counts(*least > 0) => {
                let same = strides.iter().all(|stride| stride == least);
                Self::Sequential(if same { *least } else { least.signum() })
            }
            _ => Self::Scattered,
        }
    }
}

/// The outer port that a box which counts will give away when `ahead` others are gone; `None` if it will have started
/// over before, nobody knows where.
pub(crate) fn ahead(last: SocketAddr, stride: i32, ahead: usize) -> Option<SocketAddr> {
    let port = i32::from(last.port()) + stride * i32::try_from(ahead).ok()?;
    let port = u16::try_from(port).ok().filter(|port| i32::from(*port) >= MIN_PORT)?;
    Some(SocketAddr::new(last.ip(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_show_in_three_mappings() {
        for (mappings, rule) in [
            ([(40_002, 40_002), (40_001, 40_001), (40_000, 40_000)], Allocation::Preserving),
            ([(40_002, 1500), (40_001, 1501), (40_000, 1502)], Allocation::Sequential(1)),
            ([(40_002, 1500), (40_001, 1502), (40_000, 1504)], Allocation::Sequential(2)),
            ([(40_002, 1500), (40_001, 1501), (40_000, 1507)], Allocation::Sequential(1)),
            ([(40_002, 1500), (40_001, 1499), (40_000, 1498)], Allocation::Sequential(-1)),
            ([(40_002, 1500), (40_001, 1501), (40_000, 1500)], Allocation::Scattered),
            ([(40_002, 1500), (40_001, 1600), (40_000, 1601)], Allocation::Scattered),
            ([(40_002, 40_002), (40_001, 9000), (40_000, 40_000)], Allocation::Scattered),
        ] {
            assert_eq!(Allocation::of(&mappings), rule, "{mappings:?}");
        }
    }

    #[test]
    fn nobody_foresees_where_counting_starts_over() {
        let last = "192.0.2.1:65500".parse().unwrap();
        assert_eq!(ahead(last, 1, 30), Some("192.0.2.1:65530".parse().unwrap()));
        assert_eq!(ahead(last, 1, 64), None);
        assert_eq!(ahead("192.0.2.1:1050".parse().unwrap(), -1, 30), None);
    }
}
