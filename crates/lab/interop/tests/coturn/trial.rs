//! `sterna relay test` against coturn's server.

use std::process::Command;

use serde_json::Value;

use crate::rig::{self, Coturn, SECRET};

/// What the program says of a URL, and its exit code.
fn test(sterna: &std::path::Path, coturn: &Coturn, url: &str) -> (Value, i32) {
    let secret = coturn.file("secret", SECRET);
    let output = Command::new(sterna)
        .args(["--json", "relay", "test", url, "--packets", "10", "--secret-file"])
        .arg(secret)
        .arg("--ca")
        .arg(coturn.file("ca.pem", coturn.identity.certificate_pem()))
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().find(|line| line.contains("\"trial\"")).unwrap_or_else(|| panic!("{text}"));
    (serde_json::from_str(line).unwrap(), output.status.code().unwrap())
}

#[test]
fn coturn_relays_over_every_transport_and_what_keeps_it_from_it_is_told() {
    if !rig::is_there() {
        return;
    }
    let Some(sterna) = sterna_interop::sterna() else { return sterna_interop::missing("the sterna program") };
    let coturn = Coturn::start(&["--allow-loopback-peers"]);
    for url in [
        format!("turn:127.0.0.1:{}?transport=udp", coturn.port),
        format!("turn:127.0.0.1:{}?transport=tcp", coturn.port),
        format!("turns:localhost:{}?transport=tcp", coturn.tls_port),
        format!("turns:localhost:{}?transport=udp", coturn.tls_port),
    ] {
        let (trial, code) = test(&sterna, &coturn, &url);
        assert_eq!(
            (trial["works"].as_bool(), trial["returned"].as_u64(), code),
            (Some(true), Some(10), 0),
            "{trial}"
        );
        let certificate = trial["dtls"]["certificate"].as_str();
        assert_eq!(certificate, (trial["transport"] == "dtls").then_some("trusted"), "{trial}");
    }
    // Without loopback peers it does not relay to itself here.
    let strict = Coturn::start(&[]);
    let (trial, code) = test(&sterna, &strict, &format!("turn:127.0.0.1:{}?transport=udp", strict.port));
    assert_eq!(
        (trial["failed"]["step"].as_str(), trial["failed"]["code"].as_u64(), code),
        (Some("permit"), Some(403), 5),
        "{trial}"
    );
}
