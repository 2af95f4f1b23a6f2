//! Networks in which something answers that was not asked for: an HTTP proxy that alone gets out, and a portal that
//! wants a login first.

mod lab;
mod sterna;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};

use lab::lab;
use netsim::Preset;
use sterna::{Server, codes, doctor};
use sterna_kernel::Host;

/// A server whose TURN is to be had inside TLS alone.
const NOT_IN_THE_CLEAR: &str = "table inet clear {
    chain input {
        type filter hook input priority 0
        tcp dport 3478 drop
    }
}";

#[test]
fn signalling_and_turn_over_tls_go_through_the_proxy_of_the_environment() {
    let Some(mut lab) = lab() else { return };
    let mut office = lab.add_site("office", Preset::HttpProxy).unwrap();
    let mut home = lab.add_site("home", Preset::PortRestricted).unwrap();
    let alice = lab.add_host(&mut office, "alice").unwrap();
    let bob = lab.add_host(&mut home, "bob").unwrap();
    let Some(server) = Server::secured(&mut lab, "server", &[]) else { return };
    // Its TURN over TCP in the clear is not to be had: TLS is what is to be seen here.
    server.host.nft(NOT_IN_THE_CLEAR).unwrap();
    let [(_, from), (_, to)] = server.transfer(&alice, &bob, 300_000, &[]).done();
    let turns = format!("turns:{}:", server.host.address());
    assert_eq!((&from["kind"], &to["kind"]), (&"relayed".into(), &"relayed".into()), "{from} {to}");
    assert!(from["relay"].as_str().is_some_and(|relay| relay.starts_with(&turns)), "{from}");
    let asked = lab.asked_of_proxy(&office);
    for port in [8080, 5349] {
        assert!(asked.contains(&format!("{}:{port}", server.host.address())), "{asked:?}");
    }

    // The doctor goes the same way, and says what it is.
    let report = doctor(&alice, &server.named(), |_| {});
    assert_eq!((&report["udp"], &report["can_connect"]), (&false.into(), &true.into()), "{report:#}");
    assert!(report["proxy"].as_str().is_some_and(|proxy| proxy.ends_with(":3128")), "{report:#}");
    assert!(codes(&report).contains(&"udp-blocked"), "{report:#}");

    // Whoever is told to do without it does, and gets nowhere.
    let asked = asked_now(&lab, &office);
    for (name, value) in [("NO_PROXY", server.host.address().to_string()), ("ALL_PROXY", String::new())] {
        let report = doctor(&alice, &server.named(), |command| {
            command.env(name, value);
        });
        assert_eq!(report["can_connect"], false, "{name}: {report:#}");
    }
    assert_eq!(asked_now(&lab, &office), asked);
    // Both names of the variable are heard, and one for TLS alone before one for all.
    for name in ["HTTPS_PROXY", "https_proxy"] {
        let report = doctor(&alice, &server.named(), |command| {
            let proxy = format!("http://{}:3128", alice.address().to_string().replace(".10", ".3"));
            command.env_remove("ALL_PROXY").env(name, proxy);
        });
        assert_eq!(report["can_connect"], true, "{name}: {report:#}");
    }
}

fn asked_now(lab: &sterna_kernel::Lab, office: &sterna_kernel::Site) -> usize {
    lab.asked_of_proxy(office).len()
}

/// What the router of a cafe does until one has logged in: nothing gets out, and its own page answers in place of others.
const PORTAL: &str = "table ip portal {
    chain prerouting {
        type nat hook prerouting priority -150; policy accept;
        iifname lan tcp dport { 80, 8080 } redirect to :8888
    }
    chain forward {
        type filter hook forward priority -10; policy accept;
        iifname lan drop
    }
}";

/// Ends with the test's process.
fn answer_with_a_login_page(router: &Host) {
    let listener = router.enter(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, 8888))).unwrap().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let _ = stream.read(&mut [0; 2000]);
            let _ = stream.write_all(
                b"HTTP/1.1 302 Found\r\nLocation: http://login.cafe.example/?u\r\nContent-Length: 0\r\n\r\n",
            );
        }
    });
}

#[test]
fn a_portal_on_the_way_is_told_as_what_it_is() {
    let Some(mut lab) = lab() else { return };
    let mut cafe = lab.add_site("cafe", Preset::PortRestricted).unwrap();
    let guest = lab.add_host(&mut cafe, "guest").unwrap();
    let Some(server) = Server::start(&mut lab, "server", &[]) else { return };
    let stun = format!("{}:3478", server.host.address());
    let report = doctor(&guest, &["--server", &server.url, "--stun", &stun], |_| {});
    assert_eq!((&report["captive_portal"], &report["can_connect"]), (&serde_json::Value::Null, &true.into()));

    let router = lab.router(&cafe);
    assert!(router.command("nft").arg(PORTAL).status().unwrap().success());
    answer_with_a_login_page(&router);
    let address = server.host.address();
    // In TLS it cannot answer for another; there it is found by what it says in the clear.
    for url in [server.url.clone(), format!("https://{address}")] {
        let report = doctor(&guest, &["--server", &url, "--stun", &stun], |_| {});
        assert_eq!(report["captive_portal"], "login.cafe.example", "{url}: {report:#}");
        assert_eq!((&report["udp"], &report["can_connect"]), (&false.into(), &false.into()), "{report:#}");
        assert_eq!(codes(&report)[0], "vpn-or-proxy", "{url}: {report:#}");
        let verdict = &report["verdicts"][0];
        assert!(verdict["advice"].as_str().unwrap().contains("log in"), "{verdict}");
    }
}
