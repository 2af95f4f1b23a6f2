//! Ranges of addresses from a first to a last, as coturn writes them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use turn::Cidr;

/// The fewest prefixes that are the range `first-last`, or one address, or a prefix as it is.
pub(super) fn cidrs(text: &str) -> Option<Vec<Cidr>> {
    let Some((first, last)) = text.split_once('-') else { return Some(vec![text.trim().parse().ok()?]) };
    let (first, last): (IpAddr, IpAddr) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    let (bits, from, to) = match (first, last) {
        (IpAddr::V4(first), IpAddr::V4(last)) => (32, first.to_bits().into(), last.to_bits().into()),
        (IpAddr::V6(first), IpAddr::V6(last)) => (128, first.to_bits(), last.to_bits()),
        _ => return None,
    };
    let mut found = Vec::new();
    let (mut at, to): (u128, u128) = (from, to);
    if at > to {
        return None;
    }
    loop {
        // The largest block that begins here and does not go too far.
        let mut host_bits: u32 = at.trailing_zeros().min(bits);
        while block_end(at, host_bits) > to {
            host_bits -= 1;
        }
        let base = match bits {
            32 => IpAddr::V4(Ipv4Addr::from_bits(at as u32)),
            _ => IpAddr::V6(Ipv6Addr::from_bits(at)),
        };
        found.push(Cidr::new(base, (bits - host_bits) as u8).ok()?);
        match block_end(at, host_bits) {
            end if end >= to => return Some(found),
            end => at = end + 1,
        }
    }
}

/// The last address of a block.
fn block_end(start: u128, host_bits: u32) -> u128 {
    start | 1u128.checked_shl(host_bits).map_or(u128::MAX, |size| size - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(range: &str) -> Option<Vec<String>> {
        cidrs(range).map(|found| found.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn ranges_become_prefixes() {
        for (range, expected) in [
            ("10.0.0.0-10.255.255.255", &["10.0.0.0/8"][..]),
            ("192.0.2.5-192.0.2.8", &["192.0.2.5/32", "192.0.2.6/31", "192.0.2.8/32"]),
            ("0.0.0.0-255.255.255.255", &["0.0.0.0/0"]),
            ("192.0.2.1", &["192.0.2.1/32"]),
            ("10.0.0.0/8", &["10.0.0.0/8"]),
            ("::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", &["::/0"]),
            ("fc00::-fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", &["fc00::/7"]),
            ("255.255.255.254-255.255.255.255", &["255.255.255.254/31"]),
        ] {
            assert_eq!(texts(range).unwrap(), expected, "{range}");
        }
        for bad in ["", "a-b", "10.0.0.2-10.0.0.1", "10.0.0.1-::1"] {
            assert_eq!(texts(bad), None, "{bad}");
        }
    }
}
