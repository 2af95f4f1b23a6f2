//! TLS as far as the simulation has it: a message each way that looks like it on the wire and names who is meant, and
//! then everything in the clear.

use crate::content::Content;

const HANDSHAKE: u8 = 22;
const ALERT: u8 = 21;
const APPLICATION_DATA: u8 = 23;
const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;
const CERTIFICATE: u8 = 11;

/// A ClientHello that asks for `name` (RFC 8446 §4.1.2), which stands at its end (RFC 6066 §3).
pub(crate) fn hello(name: &str) -> Vec<u8> {
    let name = name.as_bytes();
    let server_name = [&[0][..], &length(name.len()), name].concat();
    let list = [&length(server_name.len())[..], &server_name].concat();
    let extension = [&[0, 0][..], &length(list.len()), &list].concat();
    let mut body = vec![3, 3];
    body.extend_from_slice(&[0; 32]); // random
    body.extend_from_slice(&[0, 0, 2, 0x13, 0x01, 1, 0]); // no session, TLS_AES_128_GCM_SHA256, no compression
    body.extend_from_slice(&length(extension.len()));
    body.extend_from_slice(&extension);
    record(HANDSHAKE, &handshake(CLIENT_HELLO, &body))
}

/// The name that a ClientHello asks for; `None` if this is none.
pub(crate) fn asked(message: &[u8]) -> Option<&str> {
    // Behind the headers of record and message, the version and so on.
    const BEFORE: usize = 5 + 4 + 2 + 32 + 7 + 2 + 4 + 2 + 3;
    let is_hello = message.first() == Some(&HANDSHAKE) && message.get(5) == Some(&CLIENT_HELLO);
    std::str::from_utf8(message.get(BEFORE..).filter(|_| is_hello)?).ok()
}

/// What a server answers: a ServerHello, and its certificate in a record that is sealed in truth. An empty name stands
/// for all.
pub(crate) fn answer(name: &str) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend_from_slice(&[0; 32]);
    body.extend_from_slice(&[0, 0x13, 0x01, 0, 0, 0]);
    let hello = record(HANDSHAKE, &handshake(SERVER_HELLO, &body));
    let certificate = record(APPLICATION_DATA, &handshake(CERTIFICATE, name.as_bytes()));
    [hello, certificate].concat()
}

/// The name in the certificate of an answer; `None` if this is none.
pub(crate) fn certified(message: &[u8]) -> Option<&str> {
    const BEFORE: usize = 5 + 4 + 2 + 32 + 6 + 5 + 4;
    let is_answer = message.first() == Some(&HANDSHAKE) && message.get(5) == Some(&SERVER_HELLO);
    std::str::from_utf8(message.get(BEFORE..).filter(|_| is_answer)?).ok()
}

/// What somebody says who does not speak TLS, or not with this one: handshake_failure (RFC 8446 §6.2).
pub(crate) fn alert() -> Vec<u8> {
    record(ALERT, &[2, 40])
}

/// What a message of a stream is.
pub(crate) fn content(message: &[u8]) -> Content {
    if message.get(1..3) != Some(&[3, 3]) {
        Content::Message
    } else if asked(message).is_some() {
        Content::TlsHello
    } else if certified(message).is_some() {
        Content::TlsAnswer
    } else if message == alert() {
        Content::TlsAlert
    } else {
        Content::Message
    }
}

fn record(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind, 3, 3][..], &length(body.len()), body].concat()
}

fn handshake(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind, 0][..], &length(body.len()), body].concat()
}

fn length(length: usize) -> [u8; 2] {
    u16::try_from(length).expect("names are short").to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_understood() {
        let (hello, answer) = (hello("relay.example"), answer("relay.example"));
        assert_eq!((asked(&hello), certified(&hello)), (Some("relay.example"), None));
        assert_eq!((asked(&answer), certified(&answer)), (None, Some("relay.example")));
        let contents = [&hello[..], &answer, &alert(), b"CONNECT", b"", &[22, 3, 3]].map(content);
        let [first, second, third, rest @ ..] = contents;
        assert_eq!([first, second, third], [Content::TlsHello, Content::TlsAnswer, Content::TlsAlert]);
        assert_eq!(rest, [Content::Message; 3]);
        assert_eq!(certified(&super::answer("")), Some(""));
    }
}
