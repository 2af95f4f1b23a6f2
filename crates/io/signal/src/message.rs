//! The messages between a client and the server, as they stand on the wire: JSON objects with a `type`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a client says to the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum FromClient {
    /// Enter a room. A name made of digits only is a nameplate: somebody must host it. Any other room is
    /// opened by the first who joins.
    Join {
        /// The room's name: 1 to 128 bytes without control characters.
        room: String,
        /// How many members the room takes, said by whoever opens it; the server's own bound if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<usize>,
    },
    /// Host a new room under a short free number, the nameplate.
    Allocate {
        /// A nameplate the client would like to have again, given if it is free.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        wish: Option<String>,
    },
    /// Ask how many are in a room, without entering it.
    Look {
        /// The room's name.
        room: String,
    },
    /// Hand `data` to another member of the room.
    Send {
        /// The member's id.
        to: String,
        /// Anything; the server does not look inside.
        data: String,
    },
    /// Ask for `iceServers` with fresh credentials.
    IceServers,
    /// Leave the room; the connection stays.
    Leave,
    /// End the room for everybody. Only who opened it may: "the code dies".
    CloseRoom,
    /// Ask for a [`FromServer::Pong`]; for clients that cannot see WebSocket pings.
    Ping,
}

/// What the server says to a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum FromServer {
    /// The client is in the room.
    Joined {
        /// The room's name.
        room: String,
        /// The client's own id in this room. Ids are never used twice in a room.
        you: String,
        /// Who was there before, oldest first.
        peers: Vec<String>,
        /// How many members the room takes.
        limit: usize,
        /// As `RTCPeerConnection` takes it.
        ice_servers: Value,
    },
    /// The client hosts this nameplate; `joined` follows.
    Allocated {
        /// The number, in decimal.
        nameplate: String,
    },
    /// The answer to `look`.
    Looked {
        /// The room's name.
        room: String,
        /// How many are in it.
        members: usize,
        /// How many it takes; 0 if it does not exist.
        limit: usize,
    },
    /// Somebody entered.
    PeerJoined {
        /// The newcomer.
        peer: String,
    },
    /// Somebody left.
    PeerLeft {
        /// Who.
        peer: String,
        /// Whether on purpose.
        reason: LeaveReason,
        /// If it is lost: whether nothing at all was heard any more, as of a machine that has lost its network or
        /// sleeps, and that may come back.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        silent: bool,
    },
    /// Another member says something.
    Message {
        /// Who; set by the server, not by the sender.
        from: String,
        /// What, untouched.
        data: String,
    },
    /// The room is no more, and the client in none.
    RoomClosed,
    /// The answer to `ice-servers`.
    IceServers {
        /// As `RTCPeerConnection` takes it.
        ice_servers: Value,
    },
    /// The answer to `ping`.
    Pong,
    /// Something the client asked for was not done.
    Error {
        /// For programs.
        code: ErrorCode,
        /// For people: what happened and what to do.
        message: String,
    },
}

/// Why a member is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LeaveReason {
    /// It said so, or closed its connection in order.
    Left,
    /// Its connection broke or fell silent; a connection between peers may still be alive.
    Lost,
    /// Of the two the latter. On the wire this is [`LeaveReason::Lost`] and a member of its own.
    #[serde(skip)]
    Silent,
}

/// What an [`FromServer::Error`] is about. The list only grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ErrorCode {
    /// Nobody hosts this nameplate.
    NoSuchCode,
    /// The room has as many members as it takes.
    RoomFull,
    /// The room's name is not one.
    BadRoom,
    /// Not JSON, or not a message of this protocol.
    BadMessage,
    /// The client is in a room already.
    AlreadyJoined,
    /// The client is in no room.
    NotJoined,
    /// No member has this id (any more).
    NoSuchPeer,
    /// Only who opened the room may do that.
    NotHost,
    /// Too many tries in too short a time.
    SlowDown,
    /// The server has no room for more.
    ServerFull,
    /// A code this version does not know.
    #[serde(other)]
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_wire_is_what_the_document_says() {
        let cases = [
            (json!({"type": "join", "room": "x"}), FromClient::Join { room: "x".into(), limit: None }),
            (json!({"type": "allocate"}), FromClient::Allocate { wish: None }),
            (
                json!({"type": "send", "to": "2", "data": "d"}),
                FromClient::Send { to: "2".into(), data: "d".into() },
            ),
            (json!({"type": "leave"}), FromClient::Leave),
            (json!({"type": "close-room"}), FromClient::CloseRoom),
            (json!({"type": "ice-servers"}), FromClient::IceServers),
        ];
        for (wire, message) in cases {
            assert_eq!(serde_json::from_value::<FromClient>(wire.clone()).unwrap(), message);
            assert_eq!(serde_json::to_value(&message).unwrap(), wire);
        }
        let joined = FromServer::Joined {
            room: "x".into(),
            you: "2".into(),
            peers: vec!["1".into()],
            limit: 2,
            ice_servers: json!([]),
        };
        assert_eq!(
            serde_json::to_value(joined).unwrap(),
            json!({"type": "joined", "room": "x", "you": "2", "peers": ["1"], "limit": 2, "iceServers": []})
        );
        let error = FromServer::Error { code: ErrorCode::NoSuchCode, message: "m".into() };
        assert_eq!(
            serde_json::to_value(error).unwrap(),
            json!({"type": "error", "code": "no-such-code", "message": "m"})
        );
    }

    #[test]
    fn an_error_code_of_the_future_is_still_an_error() {
        let text = r#"{"type":"error","code":"from-the-future","message":"m"}"#;
        let FromServer::Error { code, .. } = serde_json::from_str(text).unwrap() else { panic!() };
        assert_eq!(code, ErrorCode::Unknown);
    }
}
