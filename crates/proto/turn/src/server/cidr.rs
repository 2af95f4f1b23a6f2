use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A range of addresses: `10.0.0.0/8`, `fd00::/8`, or one address.
///
/// The bits behind the prefix must be zero, so that a slip of the pen is an error and not another range.
/// IPv4 and IPv6 never match each other: `127.0.0.0/8` does not contain `::ffff:127.0.0.1`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cidr {
    base: IpAddr,
    prefix: u8,
}

/// Why a text or a pair of address and prefix length is not a [`Cidr`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CidrError {
    /// Not an IP address.
    #[error("`{0}` is not an IP address")]
    Address(String),
    /// The prefix length is not a number from 0 to 32 (IPv4) or 128 (IPv6).
    #[error("`{0}` is not a prefix length")]
    Prefix(String),
    /// Bits behind the prefix are set.
    #[error("{address}/{prefix} has bits set behind its prefix; did you mean {meant}?")]
    HostBits {
        /// The address as given.
        address: IpAddr,
        /// The prefix length as given.
        prefix: u8,
        /// The range that the address lies in.
        meant: Cidr,
    },
}

impl Cidr {
    /// The range of all addresses whose first `prefix` bits are those of `base`.
    pub fn new(base: IpAddr, prefix: u8) -> Result<Self, CidrError> {
        let bits: u8 = if base.is_ipv4() { 32 } else { 128 };
        if prefix > bits {
            return Err(CidrError::Prefix(prefix.to_string()));
        }
        let host_bits = bits - prefix;
        let first = match base {
            IpAddr::V4(v4) => {
                IpAddr::V4((v4.to_bits() & u32::MAX.checked_shl(host_bits.into()).unwrap_or(0)).into())
            }
            IpAddr::V6(v6) => {
                IpAddr::V6((v6.to_bits() & u128::MAX.checked_shl(host_bits.into()).unwrap_or(0)).into())
            }
        };
        if first != base {
            let meant = Self { base: first, prefix };
            return Err(CidrError::HostBits { address: base, prefix, meant });
        }
        Ok(Self { base, prefix })
    }

    /// Whether `address` lies in the range.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.base, address) {
            (IpAddr::V4(base), IpAddr::V4(v4)) => {
                (base.to_bits() ^ v4.to_bits()).checked_shr(32 - u32::from(self.prefix)).unwrap_or(0) == 0
            }
            (IpAddr::V6(base), IpAddr::V6(v6)) => {
                (base.to_bits() ^ v6.to_bits()).checked_shr(128 - u32::from(self.prefix)).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

impl From<IpAddr> for Cidr {
    fn from(base: IpAddr) -> Self {
        Self { base, prefix: if base.is_ipv4() { 32 } else { 128 } }
    }
}

impl FromStr for Cidr {
    type Err = CidrError;
    fn from_str(text: &str) -> Result<Self, CidrError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let base: IpAddr = address.parse().map_err(|_| CidrError::Address(address.to_owned()))?;
        match prefix {
            None => Ok(base.into()),
            // `u8::from_str` takes a sign, a prefix length does not.
            Some(prefix) if !prefix.starts_with('+') => {
                Self::new(base, prefix.parse().map_err(|_| CidrError::Prefix(prefix.to_owned()))?)
            }
            Some(prefix) => Err(CidrError::Prefix(prefix.to_owned())),
        }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

impl fmt::Debug for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidr(text: &str) -> Cidr {
        text.parse().unwrap()
    }

    #[test]
    fn a_range_holds_its_first_and_last_address_and_no_other() {
        for (range, inside, outside) in [
            ("172.16.0.0/12", ["172.16.0.0", "172.31.255.255"], ["172.15.255.255", "172.32.0.0"]),
            ("192.0.2.7", ["192.0.2.7", "192.0.2.7"], ["192.0.2.6", "192.0.2.8"]),
            ("fe80::/10", ["fe80::", "febf:ffff::1"], ["fe7f::", "fec0::"]),
            ("64:ff9b::/96", ["64:ff9b::", "64:ff9b::ffff:ffff"], ["64:ff9a::1", "64:ff9b::1:0:0"]),
        ] {
            for address in inside {
                assert!(cidr(range).contains(address.parse().unwrap()), "{range} {address}");
            }
            for address in outside {
                assert!(!cidr(range).contains(address.parse().unwrap()), "{range} {address}");
            }
        }
        assert!(cidr("0.0.0.0/0").contains("255.255.255.255".parse().unwrap()));
        assert!(cidr("::/0").contains("ffff::1".parse().unwrap()));
    }

    #[test]
    fn families_never_match_each_other() {
        assert!(!cidr("0.0.0.0/0").contains("::ffff:127.0.0.1".parse().unwrap()));
        assert!(!cidr("::/0").contains("127.0.0.1".parse().unwrap()));
    }

    #[test]
    fn a_malformed_range_is_an_error_and_never_everything() {
        for text in [
            "",
            "/",
            "/8",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.0/-1",
            "10.0.0.0/+8",
            "10/8",
            "::/129",
            "10.0.0.0/8/8",
        ] {
            assert!(text.parse::<Cidr>().is_err(), "{text}");
        }
        let error = "10.0.0.1/8".parse::<Cidr>().unwrap_err();
        assert_eq!(error.to_string(), "10.0.0.1/8 has bits set behind its prefix; did you mean 10.0.0.0/8?");
        assert_eq!(cidr("::1").to_string(), "::1/128");
    }
}
