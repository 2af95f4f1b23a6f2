//! Short-term credentials, on the receiving side.

use std::sync::Arc;

use sterna_stun::credential::{Rejection, check_short_term};
use sterna_stun::{Class, Integrity, Key, Message, MessageWriter, Method, TransactionId, kind};

fn check(build: impl FnOnce(&mut MessageWriter<'_>)) -> Result<Integrity, Rejection> {
    let mut buffer = [0; 200];
    let mut writer = MessageWriter::new(&mut buffer, Class::Request, Method::BINDING, TransactionId([1; 12]));
    build(&mut writer);
    let length = writer.finish().unwrap();
    let message = Message::parse(&buffer[..length]).unwrap();
    check_short_term(&message, |username| {
        (username == "us:them").then(|| Arc::new(Key::short_term("secret")))
    })
    .map(|(_, integrity)| integrity)
}

// RFC 8489 §9.1.3, in the order of the RFC.
#[test]
fn requests_are_checked_as_the_rfc_says() {
    let (key, wrong) = (Key::short_term("secret"), Key::short_term("wrong"));
    assert_eq!(
        check(|w| {
            w.string(kind::USERNAME, "us:them");
        }),
        Err(Rejection::BadRequest)
    );
    assert_eq!(
        check(|w| {
            w.integrity(&key);
        }),
        Err(Rejection::BadRequest)
    );
    assert_eq!(
        check(|w| {
            w.string(kind::USERNAME, "us:xx").integrity(&key);
        }),
        Err(Rejection::Unauthenticated)
    );
    assert_eq!(
        check(|w| {
            w.string(kind::USERNAME, "us:them").integrity(&wrong);
        }),
        Err(Rejection::Unauthenticated)
    );
    assert_eq!(
        check(|w| {
            w.string(kind::USERNAME, "us:them").integrity(&key);
        }),
        Ok(Integrity::Sha1)
    );
    assert_eq!(
        check(|w| {
            w.string(kind::USERNAME, "us:them").integrity_sha256(&key);
        }),
        Ok(Integrity::Sha256)
    );
    assert_eq!(
        check(|w| {
            w.string(kind::USERNAME, "us:them").integrity(&key).integrity_sha256(&key);
        }),
        Ok(Integrity::Sha256),
        "the stronger one decides, and the response has it"
    );
    assert_eq!(
        check(|w| {
            w.integrity(&key).string(kind::USERNAME, "us:them");
        }),
        Err(Rejection::BadRequest),
        "a name behind the signature is nobody's"
    );
}
