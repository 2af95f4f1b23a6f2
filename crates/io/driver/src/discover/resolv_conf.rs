//! What the system knows of the DNS: `/etc/resolv.conf`.

use std::net::{IpAddr, SocketAddr};

/// The port of the DNS.
const PORT: u16 = 53;

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ResolvConf {
    pub(super) nameservers: Vec<SocketAddr>,
    /// The domains that this machine is in, as DHCP or its owner said.
    pub(super) search: Vec<String>,
}

impl ResolvConf {
    /// Nothing where there is no such file.
    pub(super) fn read() -> Self {
        Self::parse(&std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default())
    }

    fn parse(text: &str) -> Self {
        let mut found = Self::default();
        for line in text.lines() {
            let mut words = line.split(['#', ';']).next().unwrap_or_default().split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    let address = words.next().and_then(|word| word.parse::<IpAddr>().ok());
                    found.nameservers.extend(address.map(|address| SocketAddr::new(address, PORT)));
                }
                // The last one of both counts (resolv.conf(5)).
                Some("search" | "domain") => found.search = words.map(str::to_owned).collect(),
                _ => {}
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says_is_read() {
        let text = "# by hand\nnameserver 192.0.2.53 # near\nnameserver fe80::1%eth0\nnameserver 2001:db8::53\n\
                    domain old.example\nsearch office.example example\noptions ndots:2\n";
        let found = ResolvConf::parse(text);
        let servers: Vec<String> = found.nameservers.iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["192.0.2.53:53", "[2001:db8::53]:53"]);
        assert_eq!(found.search, ["office.example", "example"]);
        assert_eq!(ResolvConf::parse(""), ResolvConf::default());
    }
}
