use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $word:literal, $message:literal;)+) => {
        /// What is in the way. The order is the weight: what has to be mended first comes first.
        ///
        /// The words never change; new ones may be added.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $($(#[$doc])* $variant,)+
        }

        impl Code {
            /// All of them, by weight.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// A word for programs, which never changes.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// What it means, in half a sentence, such that it may follow “because”.
            pub fn message(self) -> &'static str {
                match self { $(Self::$variant => $message,)+ }
            }
        }
    };
}

codes! {
    /// This machine has no address to connect from.
    NoNetwork = "no-network", "this machine has no network address to connect from";
    /// Who answers is not who the description promised.
    CertificateMismatch = "certificate-mismatch", "who answers is not who the description promised";
    /// The other side does not accept our checks, or we not theirs: one holds an old description of the other.
    DescriptionsMismatched = "descriptions-mismatched", "the two sides do not hold each other's latest description";
    /// Candidates of the other side did not arrive.
    SignallingLostCandidates = "signalling-lost-candidates", "signalling lost candidates of the other side";
    /// One side has only IPv4, the other only IPv6.
    FamilyMismatch = "family-mismatch", "one side has only IPv4 and the other only IPv6";
    /// A VPN, a proxy or a captive portal stands between this machine and the Internet.
    VpnOrProxy = "vpn-or-proxy", "a VPN, a proxy or a captive portal is in the way";
    /// UDP does not get out of this network, or not back.
    UdpBlocked = "udp-blocked", "no UDP gets through in this network";
    /// A clock is wrong, and something that is valid for a time only was refused for it.
    ClockSkewed = "clock-skewed", "two clocks differ, and what is valid for a time only was refused";
    /// A TURN username that is valid for a time only, and the time is over.
    TurnCredentialsExpired = "turn-credentials-expired", "the TURN credentials have expired";
    /// The TURN server has another realm than the one that the credentials are for.
    TurnRealmWrong = "turn-realm-wrong", "the TURN server has another realm than the credentials";
    /// A TURN server refuses the username or the password.
    TurnCredentialsWrong = "turn-credentials-wrong", "the TURN server refuses the username or the password";
    /// A TURN server does not relay to the other side's addresses.
    TurnRefusesPeer = "turn-refuses-peer", "the TURN server does not relay to the other side's addresses";
    /// A TURN server gives addresses to which nothing comes: a firewall in front of it.
    RelayPortsClosed = "relay-ports-closed", "nothing arrives at the addresses that the TURN server relays from";
    /// No TURN server could be reached over UDP.
    TurnUnreachableUdp = "turn-unreachable-udp", "no TURN server answers over UDP";
    /// No TURN server could be reached over TCP.
    TurnUnreachableTcp = "turn-unreachable-tcp", "no TURN server answers over TCP";
    /// No TURN server could be reached over TLS.
    TurnUnreachableTls = "turn-unreachable-tls", "no TURN server answers over TLS";
    /// Large packets do not get through.
    Mtu = "mtu", "large packets do not get through";
    /// There is a path, but the DTLS handshake does not end on it.
    DtlsStalled = "dtls-stalled", "there is a path, but the DTLS handshake gets stuck on it";
    /// The DTLS handshake was refused, or the two sides have nothing in common.
    DtlsRefused = "dtls-refused", "the DTLS handshake was refused";
    /// A NAT forgot the connection while little was sent.
    BindingExpired = "binding-expired", "a NAT on the path forgot the connection";
    /// The address that the path used is gone.
    NetworkChanged = "network-changed", "the network address that the path used is gone";
    /// The TURN server ended the relayed path.
    RelayLost = "relay-lost", "the TURN server ended the relayed path";
    /// The other side hides behind `.local` names that cannot be looked up here.
    MdnsUnresolved = "mdns-unresolved", "the other side's .local names do not resolve here";
    /// Both sides are behind one NAT, which does not send back in what was sent to its outer address.
    NoHairpin = "no-hairpin", "both sides are behind one NAT, which does not let them reach each other through it";
    /// A NAT gives another outer address for each destination, so that nobody can know it beforehand.
    MappingDependsOnDestination = "mapping-depends-on-destination",
        "a NAT gives another address for each destination";
    /// Our NAT's mapping is fine, and only its filter keeps out a peer whose address cannot be known beforehand.
    FilteringOnly = "filtering-only", "this NAT lets in only those whose exact address was known beforehand";
    /// Packets arrive from the other side, but ours do not arrive there.
    OneWay = "one-way", "packets arrive from the other side, but ours do not arrive there";
    /// A STUN server did not answer.
    StunUnreachable = "stun-unreachable", "no STUN server answers";
    /// No direct path, and no TURN server was configured.
    NoRelay = "no-relay", "there is no direct path, and no TURN server is configured";
    /// What is known does not tell.
    Inconclusive = "inconclusive", "what is known here does not tell the cause";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that is no [`Code`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownCode(pub String);

impl fmt::Display for UnknownCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no verdict", self.0)
    }
}

impl std::error::Error for UnknownCode {}

impl FromStr for Code {
    type Err = UnknownCode;

    fn from_str(word: &str) -> Result<Self, UnknownCode> {
        let known = Self::ALL.iter().find(|code| code.as_str() == word);
        known.copied().ok_or_else(|| UnknownCode(word.to_owned()))
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = String::deserialize(deserializer)?;
        word.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_kebab_case_and_lead_back() {
        for code in Code::ALL {
            let word = code.as_str();
            assert!(word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{word}");
            assert_eq!(word.parse(), Ok(*code));
            assert!(!code.message().is_empty() && !code.message().ends_with('.'));
        }
        assert!("no-such".parse::<Code>().is_err());
        assert!(Code::ALL.is_sorted());
    }
}
