use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::cidr::Cidr;

/// Which addresses the server relays to.
///
/// A relay stands inside someone's network and sends what strangers tell it to send. By default it therefore
/// reaches the public internet only: nothing private, nothing on this machine or this link, no cloud metadata
/// service, no multicast, in none of the ways in which an IPv6 address can spell an IPv4 address.
/// Documentation ranges (RFC 5737, RFC 3849) are not denied: nothing but a test lab answers there.
///
/// [`PeerPolicy::allow`] opens a range, for tests and for relays that serve a private network;
/// [`PeerPolicy::deny`] closes one, and is stronger.
///
/// ```
/// use sterna_turn::PeerPolicy;
///
/// let policy = PeerPolicy::default();
/// assert!(policy.check("198.51.100.7".parse().unwrap()).is_ok());
/// assert!(policy.check("127.0.0.1".parse().unwrap()).is_err());
/// assert!(policy.check("::ffff:127.0.0.1".parse().unwrap()).is_err());
/// assert!(policy.check("64:ff9b::10.0.0.1".parse().unwrap()).is_err());
///
/// let lab = PeerPolicy::default().allow("10.1.0.0/16".parse().unwrap());
/// assert!(lab.check("10.1.2.3".parse().unwrap()).is_ok());
/// assert!(lab.check("64:ff9b::10.1.2.3".parse().unwrap()).is_err());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerPolicy {
    allowed: Vec<Cidr>,
    denied: Vec<Cidr>,
}

/// Why the server does not relay to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Denial {
    /// `0.0.0.0/8`, `::`: "this host", which many systems take for loopback.
    Unspecified,
    /// `127.0.0.0/8`, `::1`.
    Loopback,
    /// RFC 1918, and unique local addresses (RFC 4193).
    Private,
    /// `169.254.0.0/16`, `fe80::/10`: also where clouds keep their metadata service.
    LinkLocal,
    /// `fec0::/10` (RFC 3879).
    SiteLocal,
    /// `100.64.0.0/10`, the inside of a provider's NAT (RFC 6598).
    CarrierNat,
    /// `224.0.0.0/4`, `ff00::/8`.
    Multicast,
    /// `255.255.255.255` and the rest of `240.0.0.0/4`.
    Broadcast,
    /// A cloud's own service on a public address.
    Metadata,
    /// Assigned to a protocol, to benchmarks, or to nobody (RFC 6890 and its registries).
    Reserved,
    /// An IPv6 address that stands for an IPv4 address, and is no address of a host.
    Embedded,
    /// An IPv6 address whose packets end at an IPv4 address that is denied.
    EmbedsDenied,
    /// In a range of [`PeerPolicy::deny`].
    Configured,
    /// An address of the server itself, and not one that it relays from.
    Own,
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unspecified => "the unspecified address",
            Self::Loopback => "a loopback address",
            Self::Private => "a private address",
            Self::LinkLocal => "a link-local address",
            Self::SiteLocal => "a site-local address",
            Self::CarrierNat => "an address behind a carrier's NAT",
            Self::Multicast => "a multicast address",
            Self::Broadcast => "a broadcast or reserved address",
            Self::Metadata => "a cloud metadata service",
            Self::Reserved => "a reserved address",
            Self::Embedded => "an IPv4 address in IPv6 clothes",
            Self::EmbedsDenied => "an IPv6 address that leads to a denied IPv4 address",
            Self::Configured => "denied by the server's configuration",
            Self::Own => "an address of the server itself",
        })
    }
}

impl PeerPolicy {
    /// The same policy, which also lets clients reach `range`.
    ///
    /// The range is compared with the address as it is spelled: allowing `10.0.0.0/8` does not allow
    /// `64:ff9b::10.0.0.1`.
    #[must_use]
    pub fn allow(mut self, range: Cidr) -> Self {
        self.allowed.push(range);
        self
    }

    /// The same policy, which lets no client reach `range`, nor any IPv6 address that embeds an address of it.
    #[must_use]
    pub fn deny(mut self, range: Cidr) -> Self {
        self.denied.push(range);
        self
    }

    /// Whether the server may relay to `address`.
    pub fn check(&self, address: IpAddr) -> Result<(), Denial> {
        if self.is_denied(address) {
            return Err(Denial::Configured);
        }
        if self.allows(address) {
            return Ok(());
        }
        match address {
            IpAddr::V4(v4) => check_v4(v4),
            IpAddr::V6(v6) => check_v6(v6)?.map_or(Ok(()), |v4| {
                let embedded = if self.is_denied(v4.into()) { Err(Denial::Configured) } else { check_v4(v4) };
                embedded.map_err(|_| Denial::EmbedsDenied)
            }),
        }
    }

    /// Whether `address` lies in a range that was opened with [`PeerPolicy::allow`] and not closed again.
    pub fn allows(&self, address: IpAddr) -> bool {
        self.allowed.iter().any(|range| range.contains(address)) && !self.is_denied(address)
    }

    fn is_denied(&self, address: IpAddr) -> bool {
        self.denied.iter().any(|range| range.contains(address))
    }
}

/// The IPv4 addresses that are not the public internet (the IANA special-purpose registry, RFC 6890).
fn check_v4(address: Ipv4Addr) -> Result<(), Denial> {
    Err(match address.octets() {
        [0, ..] => Denial::Unspecified,
        [127, ..] => Denial::Loopback,
        [10, ..] | [192, 168, ..] | [172, 16..=31, ..] => Denial::Private,
        [169, 254, ..] => Denial::LinkLocal,
        [100, 64..=127, ..] => Denial::CarrierNat,
        [224..=239, ..] => Denial::Multicast,
        [240..=255, ..] => Denial::Broadcast,
        // Azure's virtual public address for its agent, DNS and health probes.
        [168, 63, 129, 16] => Denial::Metadata,
        // Protocol assignments, where one cloud keeps its metadata service; the dead 6to4 anycast; benchmarks.
        [192, 0, 0, _] | [192, 88, 99, _] | [198, 18..=19, ..] => Denial::Reserved,
        _ => return Ok(()),
    })
}

/// The IPv6 addresses that are not the public internet; the IPv4 address that a public one leads to, if any.
///
/// Written from the allowed side: what is neither global unicast (`2000::/3`) nor the NAT64 prefix is denied,
/// whether or not it has a name here.
fn check_v6(address: Ipv6Addr) -> Result<Option<Ipv4Addr>, Denial> {
    let segments = address.segments();
    let last = Ipv4Addr::from_bits(address.to_bits() as u32);
    Err(match segments {
        [0, 0, 0, 0, 0, 0, 0, 0] => Denial::Unspecified,
        [0, 0, 0, 0, 0, 0, 0, 1] => Denial::Loopback,
        // IPv4-compatible (RFC 4291 §2.5.5.1), IPv4-mapped (§2.5.5.2), IPv4-translated (RFC 2765 §2.1).
        [0, 0, 0, 0, 0, 0 | 0xffff, ..] | [0, 0, 0, 0, 0xffff, 0, ..] => Denial::Embedded,
        // NAT64, well-known prefix (RFC 6052 §2.1).
        [0x64, 0xff9b, 0, 0, 0, 0, ..] => return Ok(Some(last)),
        // NAT64, local use (RFC 8215): where the IPv4 address lies in it is the operator's choice.
        [0x64, 0xff9b, 1, ..] => Denial::Embedded,
        [0xfc00..=0xfdff, ..] => Denial::Private,
        [0xfe80..=0xfebf, ..] => Denial::LinkLocal,
        [0xfec0..=0xfeff, ..] => Denial::SiteLocal,
        [0xff00..=0xffff, ..] => Denial::Multicast,
        // Teredo (RFC 4380) and 6to4 (RFC 3056): tunnels that lead to an IPv4 address, and around in circles
        // (RFC 8656 §21.4).
        [0x2001, 0, ..] | [0x2002, ..] => Denial::Embedded,
        // IETF protocol assignments: ORCHID, benchmarks and the like (RFC 2928).
        [0x2001, 1..=0x1ff, ..] => Denial::Reserved,
        // ISATAP (RFC 5214 §6.1): any prefix, and the IPv4 address in the interface identifier.
        [0x2000..=0x3fff, _, _, _, 0 | 0x200, 0x5efe, ..] => return Ok(Some(last)),
        [0x2000..=0x3fff, ..] => return Ok(None),
        _ => Denial::Reserved,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(address: &str) -> Result<(), Denial> {
        PeerPolicy::default().check(address.parse().unwrap())
    }

    #[test]
    fn cve_2020_26262_unspecified_and_loopback_peers_are_denied() {
        assert_eq!(check("0.0.0.0"), Err(Denial::Unspecified));
        assert_eq!(check("0.1.2.3"), Err(Denial::Unspecified));
        assert_eq!(check("::"), Err(Denial::Unspecified));
        assert_eq!(check("127.0.0.1"), Err(Denial::Loopback));
        assert_eq!(check("127.255.255.254"), Err(Denial::Loopback));
        assert_eq!(check("::1"), Err(Denial::Loopback));
    }

    #[test]
    fn cve_2026_27624_mapped_addresses_bypass_nothing() {
        for v4 in ["127.0.0.1", "10.0.0.1", "169.254.169.254", "0.0.0.0", "8.8.8.8"] {
            assert_eq!(check(&format!("::ffff:{v4}")), Err(Denial::Embedded), "{v4}");
        }
    }

    #[test]
    fn coturn_1945_no_encoding_of_an_ipv4_address_bypasses_anything() {
        assert_eq!(check("::127.0.0.1"), Err(Denial::Embedded), "IPv4-compatible");
        assert_eq!(check("::10.0.0.1"), Err(Denial::Embedded), "IPv4-compatible");
        assert_eq!(check("::ffff:0:10.0.0.1"), Err(Denial::Embedded), "IPv4-translated");
        assert_eq!(check("2002:7f00:1::"), Err(Denial::Embedded), "6to4");
        assert_eq!(check("2002:a9fe:a9fe::1"), Err(Denial::Embedded), "6to4");
        assert_eq!(check("64:ff9b::127.0.0.1"), Err(Denial::EmbedsDenied), "NAT64");
        assert_eq!(check("64:ff9b::169.254.169.254"), Err(Denial::EmbedsDenied), "NAT64");
        assert_eq!(check("64:ff9b::192.168.1.1"), Err(Denial::EmbedsDenied), "NAT64");
        assert_eq!(check("2001:db8::5efe:10.0.0.1"), Err(Denial::EmbedsDenied), "ISATAP");
        assert_eq!(check("2001:db8::200:5efe:10.0.0.1"), Err(Denial::EmbedsDenied), "ISATAP");
    }

    #[test]
    fn encodings_that_coturn_forgot_are_denied_too() {
        assert_eq!(check("64:ff9b:1::127.0.0.1"), Err(Denial::Embedded), "RFC 8215");
        assert_eq!(check("64:ff9b:1:7f00:0:100::"), Err(Denial::Embedded), "RFC 8215 with a /48 prefix");
        // Teredo server 192.0.2.1, client 10.0.0.1 (obfuscated).
        assert_eq!(check("2001:0:c000:201::f5ff:fffe"), Err(Denial::Embedded), "Teredo");
    }

    #[test]
    fn coturn_1947_link_local_unique_local_and_site_local_are_denied() {
        assert_eq!(check("169.254.169.254"), Err(Denial::LinkLocal));
        assert_eq!(check("fe80::1"), Err(Denial::LinkLocal));
        assert_eq!(check("febf::1"), Err(Denial::LinkLocal));
        assert_eq!(check("fc00::1"), Err(Denial::Private));
        assert_eq!(check("fd00:ec2::254"), Err(Denial::Private));
        assert_eq!(check("fec0::1"), Err(Denial::SiteLocal));
    }

    #[test]
    fn private_carrier_metadata_multicast_and_broadcast_addresses_are_denied() {
        for (address, denial) in [
            ("10.255.255.255", Denial::Private),
            ("172.16.0.1", Denial::Private),
            ("172.31.255.255", Denial::Private),
            ("192.168.0.1", Denial::Private),
            ("100.64.0.1", Denial::CarrierNat),
            ("100.100.100.200", Denial::CarrierNat),
            ("100.127.255.255", Denial::CarrierNat),
            ("168.63.129.16", Denial::Metadata),
            ("192.0.0.192", Denial::Reserved),
            ("198.18.0.1", Denial::Reserved),
            ("192.88.99.1", Denial::Reserved),
            ("224.0.0.1", Denial::Multicast),
            ("239.255.255.250", Denial::Multicast),
            ("240.0.0.1", Denial::Broadcast),
            ("255.255.255.255", Denial::Broadcast),
            ("ff02::1", Denial::Multicast),
            ("100::1", Denial::Reserved),
            ("2001:2::1", Denial::Reserved),
            ("5f00::1", Denial::Reserved),
            ("4000::1", Denial::Reserved),
            ("::1:0:0:1", Denial::Reserved),
        ] {
            assert_eq!(check(address), Err(denial), "{address}");
        }
    }

    #[test]
    fn the_public_internet_is_reached() {
        for address in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.1",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.255.255",
            "172.32.0.1",
            "192.0.2.1",
            "203.0.113.9",
            "223.255.255.255",
            "2606:4700::1111",
            "2001:200::1",
            "2001:db8::1",
            "64:ff9b::1.1.1.1",
        ] {
            assert_eq!(check(address), Ok(()), "{address}");
        }
    }

    #[test]
    fn allowing_a_range_opens_that_spelling_alone() {
        let policy = PeerPolicy::default().allow("127.0.0.0/8".parse().unwrap());
        let check = |address: &str| policy.check(address.parse().unwrap());
        assert_eq!(check("127.0.0.1"), Ok(()));
        assert_eq!(check("10.0.0.1"), Err(Denial::Private));
        for disguise in ["::ffff:127.0.0.1", "::127.0.0.1", "2002:7f00:1::", "64:ff9b::127.0.0.1", "::1"] {
            assert!(check(disguise).is_err(), "{disguise}");
        }
    }

    #[test]
    fn denying_a_range_is_stronger_and_reaches_into_encodings() {
        let policy = PeerPolicy::default()
            .allow("10.0.0.0/8".parse().unwrap())
            .deny("10.1.0.0/16".parse().unwrap())
            .deny("198.51.100.0/24".parse().unwrap());
        let check = |address: &str| policy.check(address.parse().unwrap());
        assert_eq!(check("10.2.0.1"), Ok(()));
        assert_eq!(check("10.1.0.1"), Err(Denial::Configured));
        assert_eq!(check("198.51.100.1"), Err(Denial::Configured));
        assert_eq!(check("64:ff9b::198.51.100.1"), Err(Denial::EmbedsDenied));
    }

    proptest::proptest! {
        /// No IPv6 address that contains a denied IPv4 address where some transition mechanism puts one is reached.
        #[test]
        fn no_spelling_of_a_denied_ipv4_address_is_reached(bits: u32, prefix: u64) {
            let v4 = Ipv4Addr::from_bits(bits);
            if check_v4(v4).is_err() {
                let [a, b] = [(bits >> 16) as u16, bits as u16];
                let subnet = 0x2000 | (prefix as u16 & 0x1fff);
                for spelling in [
                    Ipv6Addr::new(0, 0, 0, 0, 0, 0, a, b),
                    Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, a, b),
                    Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, a, b),
                    Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, a, b),
                    Ipv6Addr::new(0x64, 0xff9b, 1, prefix as u16, 0, 0, a, b),
                    Ipv6Addr::new(0x2002, a, b, prefix as u16, 0, 0, 0, 1),
                    Ipv6Addr::new(0x2001, 0, a, b, 0, 0, !a, !b),
                    Ipv6Addr::new(subnet, 1, 2, 3, 0, 0x5efe, a, b),
                    Ipv6Addr::new(subnet, 1, 2, 3, 0x200, 0x5efe, a, b),
                ] {
                    proptest::prop_assert!(PeerPolicy::default().check(spelling.into()).is_err(), "{}", spelling);
                }
            }
        }
    }
}
