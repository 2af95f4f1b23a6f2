use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! states {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$variant_doc])* #[serde(rename = $text)] $variant),+
        }

        impl $name {
            /// As W3C spells it.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

states! {
    /// Where the exchange of offers and answers stands (`RTCSignalingState`).
    SignalingState {
        /// Nothing is in negotiation.
        Stable = "stable",
        /// Our offer awaits its answer.
        HaveLocalOffer = "have-local-offer",
        /// Their offer awaits its answer.
        HaveRemoteOffer = "have-remote-offer",
        /// We answered their offer, provisionally.
        HaveLocalPranswer = "have-local-pranswer",
        /// They answered our offer, provisionally.
        HaveRemotePranswer = "have-remote-pranswer",
        /// The connection is closed.
        Closed = "closed",
    }
}

states! {
    /// Whether our candidates are known (`RTCIceGatheringState`).
    IceGatheringState {
        /// Not begun.
        New = "new",
        /// Servers are being asked.
        Gathering = "gathering",
        /// All are known.
        Complete = "complete",
    }
}

states! {
    /// Whether a path is found (`RTCIceConnectionState`).
    IceConnectionState {
        /// Not begun.
        New = "new",
        /// Paths are being tried.
        Checking = "checking",
        /// One works; better ones may follow.
        Connected = "connected",
        /// One works, and it is the one.
        Completed = "completed",
        /// Nothing has come for a while. It may come back.
        Disconnected = "disconnected",
        /// No path works. An ICE restart may help.
        Failed = "failed",
        /// The connection is closed.
        Closed = "closed",
    }
}

states! {
    /// ICE and DTLS together (`RTCPeerConnectionState`).
    ConnectionState {
        /// Not begun.
        New = "new",
        /// On the way.
        Connecting = "connecting",
        /// Connected, and both sides are who they said.
        Connected = "connected",
        /// Nothing has come for a while. It may come back.
        Disconnected = "disconnected",
        /// It did not work, or works no more.
        Failed = "failed",
        /// The connection is closed.
        Closed = "closed",
    }
}

states! {
    /// Whether the other side has shown who it is (`RTCDtlsTransportState`).
    DtlsState {
        /// Not begun.
        New = "new",
        /// The handshake is under way.
        Connecting = "connecting",
        /// The other side is who its description said.
        Connected = "connected",
        /// Ended in an orderly way.
        Closed = "closed",
        /// Broken.
        Failed = "failed",
    }
}
