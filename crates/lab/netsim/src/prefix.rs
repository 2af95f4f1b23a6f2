use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A range of addresses, `10.0.1.0/24` or `2a00:1::/64`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Prefix {
    base: IpAddr,
    length: u8,
}

impl Prefix {
    /// The addresses that share their first `length` bits with `address`.
    ///
    /// # Panics
    /// If `length` is more than the address has bits.
    pub fn new(address: IpAddr, length: u8) -> Self {
        let bits = if address.is_ipv4() { 32 } else { 128 };
        assert!(length <= bits, "{address} has no {length} bits");
        let host_bits = bits - length;
        let base = match address {
            IpAddr::V4(v4) => {
                let mask = u32::MAX.checked_shl(host_bits.into()).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & mask))
            }
            IpAddr::V6(v6) => {
                let mask = u128::MAX.checked_shl(host_bits.into()).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask))
            }
        };
        Self { base, length }
    }

    /// Its first address.
    pub fn base(self) -> IpAddr {
        self.base
    }

    /// Whether `address` lies in it.
    pub fn contains(self, address: IpAddr) -> bool {
        address.is_ipv4() == self.base.is_ipv4() && Self::new(address, self.length).base == self.base
    }

    /// The address with the number `number` in it, if there are so many.
    pub fn address(self, number: u32) -> Option<IpAddr> {
        let address = match self.base {
            IpAddr::V4(v4) => IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits().checked_add(number)?)),
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits().checked_add(number.into())?)),
        };
        self.contains(address).then_some(address)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.length)
    }
}

/// The text is not an address, a slash and a number of bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrefixError(String);

impl fmt::Display for PrefixError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not a prefix such as 10.0.1.0/24", self.0)
    }
}

impl std::error::Error for PrefixError {}

impl FromStr for Prefix {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Self, PrefixError> {
        let wrong = || PrefixError(text.to_owned());
        let (address, length) = text.split_once('/').ok_or_else(wrong)?;
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let length: u8 = length.parse().map_err(|_| wrong())?;
        if length > if address.is_ipv4() { 32 } else { 128 } {
            return Err(wrong());
        }
        Ok(Self::new(address, length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_knows_its_own() {
        let prefix: Prefix = "10.0.1.77/24".parse().unwrap();
        assert_eq!(prefix.to_string(), "10.0.1.0/24");
        assert!(prefix.contains("10.0.1.255".parse().unwrap()));
        assert!(!prefix.contains("10.0.2.0".parse().unwrap()));
        assert!(!prefix.contains("::1".parse().unwrap()));
        assert_eq!(prefix.address(255), Some("10.0.1.255".parse().unwrap()));
        assert_eq!(prefix.address(256), None);
        let all: Prefix = "0.0.0.0/0".parse().unwrap();
        assert!(all.contains("255.255.255.255".parse().unwrap()));
        let v6: Prefix = "2a00:1::/64".parse().unwrap();
        assert_eq!(v6.address(2), Some("2a00:1::2".parse().unwrap()));
    }

    #[test]
    fn nonsense_is_not_a_prefix() {
        for text in ["", "10.0.0.0", "10.0.0.0/33", "x/8", "::/129", "10.0.0.0/-1"] {
            assert!(text.parse::<Prefix>().is_err(), "{text}");
        }
    }
}
