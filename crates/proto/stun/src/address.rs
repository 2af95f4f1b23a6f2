//! The value of MAPPED-ADDRESS and XOR-MAPPED-ADDRESS (RFC 8489 §14.1, §14.2).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::{MAGIC_COOKIE, TransactionId};

const FAMILY_IPV4: u8 = 1;
const FAMILY_IPV6: u8 = 2;

/// The address in `value`, or `None` if its family is unknown or its length is not that of the family.
pub(crate) fn decode(value: &[u8]) -> Option<SocketAddr> {
    // The first 8 bits must be ignored by receivers (RFC 8489 §14.1).
    let &[_, family, high, low, ref ip @ ..] = value else { return None };
    let ip = match family {
        FAMILY_IPV4 => IpAddr::from(<[u8; 4]>::try_from(ip).ok()?),
        FAMILY_IPV6 => IpAddr::from(<[u8; 16]>::try_from(ip).ok()?),
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_be_bytes([high, low])))
}

/// Writes the value of an address attribute, and returns its length.
pub(crate) fn encode(address: SocketAddr, value: &mut [u8; 20]) -> usize {
    value[2..4].copy_from_slice(&address.port().to_be_bytes());
    match address.ip() {
        IpAddr::V4(ip) => {
            value[..2].copy_from_slice(&[0, FAMILY_IPV4]);
            value[4..8].copy_from_slice(&ip.octets());
            8
        }
        IpAddr::V6(ip) => {
            value[..2].copy_from_slice(&[0, FAMILY_IPV6]);
            value[4..].copy_from_slice(&ip.octets());
            20
        }
    }
}

/// The obfuscation of XOR-MAPPED-ADDRESS, which is its own inverse (RFC 8489 §14.2).
pub(crate) fn xor(address: SocketAddr, id: TransactionId) -> SocketAddr {
    let port = address.port() ^ (MAGIC_COOKIE >> 16) as u16;
    let ip = match address.ip() {
        IpAddr::V4(ip) => IpAddr::V4(Ipv4Addr::from_bits(ip.to_bits() ^ MAGIC_COOKIE)),
        IpAddr::V6(ip) => {
            let mut mask = [0; 16];
            mask[..4].copy_from_slice(&MAGIC_COOKIE.to_be_bytes());
            mask[4..].copy_from_slice(&id.0);
            IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() ^ u128::from_be_bytes(mask)))
        }
    };
    SocketAddr::new(ip, port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_that_do_not_fit_the_family_are_refused() {
        assert!(decode(&[0, 1, 0, 9, 127, 0, 0, 1]).is_some());
        assert!(decode(&[0xff, 1, 0, 9, 127, 0, 0, 1]).is_some(), "the first byte is ignored");
        for bad in [
            &[][..],
            &[0, 1, 0, 9],
            &[0, 1, 0, 9, 1, 2, 3],
            &[0, 2, 0, 9, 1, 2, 3, 4],
            &[0, 3, 0, 9, 1, 2, 3, 4],
        ] {
            assert_eq!(decode(bad), None, "{bad:?}");
        }
        let mut long = [0; 24];
        long[1] = 2;
        assert_eq!(decode(&long), None);
    }
}
