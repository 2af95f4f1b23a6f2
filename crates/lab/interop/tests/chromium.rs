//! The page in headless Chromium: page to page, and page to the command line. The scenarios are in `browser/`.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use sterna_interop::{FOLDER, chromium, packages};

/// `sterna serve` on free ports of this machine.
struct Server {
    process: Child,
    url: String,
}

impl Server {
    fn start(program: &Path) -> Self {
        let arguments = [
            "--json",
            "serve",
            "--http",
            "0",
            "--stun",
            "0",
            "--stun-tls",
            "0",
            "--allow-peer",
            "127.0.0.0/8",
        ];
        let mut process =
            Command::new(program).args(arguments).stdout(Stdio::piped()).spawn().expect("the server starts");
        let mut lines = BufReader::new(process.stdout.take().expect("piped")).lines();
        let listening = lines.by_ref().map_while(Result::ok).find(|line| line.contains("\"listening\""));
        let listening: serde_json::Value =
            serde_json::from_str(&listening.expect("the server says where it listens")).expect("JSON");
        std::thread::spawn(move || lines.for_each(drop));
        Self { process, url: listening["http"].as_str().expect("a URL").trim_end_matches('/').to_owned() }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn scenario(name: &str) {
    scenario_with(name, true, &[]);
}

/// `serves`: with a server of the usual settings. `environment` is what the scenario is told besides.
fn scenario_with(name: &str, serves: bool, environment: &[(&str, &str)]) {
    let Some(sterna) = sterna_interop::sterna() else { return sterna_interop::missing("the sterna program") };
    let Some(chromium) = chromium() else { return sterna_interop::missing("chromium") };
    if !packages() {
        return sterna_interop::missing("playwright-core (npm)");
    }
    let server = serves.then(|| Server::start(&sterna));
    let mut node = Command::new("node");
    node.arg(format!("browser/{name}.mjs")).current_dir(FOLDER);
    node.env("STERNA_BIN", &sterna).env("CHROMIUM", chromium).envs(environment.iter().copied());
    node.envs(server.as_ref().map(|server| ("SERVER", &server.url)));
    let output = node.output().expect("node starts");
    print!("{}", String::from_utf8_lossy(&output.stdout));
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{name}: {}", output.status);
}

#[test]
fn two_pages_call_chat_and_exchange_files() {
    scenario("call");
}

#[test]
fn every_way_into_a_room() {
    scenario("rooms");
}

#[test]
fn files_between_page_and_command_line() {
    scenario("transfer");
}

#[test]
fn calls_and_files_through_our_relay() {
    scenario("relay");
}

#[test]
fn our_relay_over_udp_tcp_tls_and_the_pages_port() {
    let folder = std::env::temp_dir().join(format!("sterna-chromium-tls-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let [certificate, key] = ["certificate.pem", "key.pem"].map(|name| folder.join(name));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let tls = format!("{},{}", certificate.display(), key.display());
    scenario_with("transports", false, &[("TLS", &tls)]);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn our_relay_by_one_port_for_all() {
    scenario_with("one-port", false, &[]);
}

#[test]
fn a_connection_that_does_not_come_about_says_why() {
    scenario("failing");
}

#[test]
fn what_is_connected_outlives_the_server() {
    scenario("reunion");
}

#[test]
fn the_labs_grid_as_a_page() {
    scenario("grid");
}

#[test]
fn the_pages_parts_without_a_browser() {
    let output =
        Command::new("node").arg("browser/parts.mjs").current_dir(FOLDER).output().expect("node starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_pages_types_are_right() {
    if !packages() {
        return sterna_interop::missing("typescript (npm)");
    }
    let output = Command::new("node")
        .args(["node_modules/typescript/bin/tsc", "-p", "tsconfig.json"])
        .current_dir(FOLDER)
        .output()
        .expect("node starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
