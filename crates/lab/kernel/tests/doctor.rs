//! `sterna doctor` behind the kernel's NATs reports what they are: the real program, the real server with two
//! addresses, and what the simulator's site of the same preset does.

mod lab;
mod sterna;

use std::process::Stdio;
use std::time::Duration;

use lab::lab;
use serde_json::Value;
use sterna::{Server, event};
use sterna_kernel::{Findings, Host, Lab, Preset, Program, Stop};

#[test]
fn the_doctor_behind_each_preset_reports_what_it_is() {
    let (Some(mut lab), Some(sterna)) = (lab(), sterna::program()) else { return };
    let server = lab.add_server("server", 2).unwrap();
    let second = server.addresses()[1].to_string();
    let arguments = ["serve", "--listen", "0.0.0.0", "--http", "8080", "--stun-alternate", &second];
    let folder = lab.folder().to_owned();
    let mut serving = Program::start(&sterna, &server, &folder, &arguments, &Stop::default()).unwrap();
    serving.event("listening", Duration::from_secs(60)).unwrap();
    let url = format!("http://{}:8080", server.address());
    let stun = format!("{}:3478", server.address());

    let mut runs = Vec::new();
    for preset in Lab::presets() {
        let mut site = lab.add_site(preset.name(), preset).unwrap();
        let host = lab.add_host(&mut site, &format!("{}-host", preset.name())).unwrap();
        let mut command = host.command(&sterna);
        command.args(["doctor", "--json", "--server", &url, "--stun", &stun]);
        for name in ["STERNA_SERVER", "STERNA_CA", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
            command.env_remove(name);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        runs.push((preset, command.spawn().expect("ip netns exec runs")));
        // A few at a time: the machine is small, and silence shall not come from it.
        if runs.len() % 4 == 0 {
            std::thread::sleep(Duration::from_secs(2));
        }
    }
    let mut wrong = Vec::new();
    for (preset, run) in runs {
        let output = run.wait_with_output().unwrap();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
            panic!("{preset}: {error}: {}", String::from_utf8_lossy(&output.stderr));
        });
        if let Err(difference) = compare(preset, &report) {
            wrong.push(format!("{preset}: {difference}\n{report:#}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// Whether a report says what the simulator's site of the preset does.
fn compare(preset: Preset, report: &Value) -> Result<(), String> {
    let same = |what: &str, found: &Value, expected: &Value| match found == expected {
        true => Ok(()),
        false => Err(format!("{what} is {found}, and not {expected}")),
    };
    let findings = Findings::simulated(preset);
    let expected = findings.to_json();
    let nat = &report["nat"];
    same("udp", &report["udp"], &expected["udp"])?;
    let codes: Vec<_> =
        report["verdicts"].as_array().into_iter().flatten().map(|verdict| verdict["code"].clone()).collect();
    if !findings.udp {
        same("mapping", &nat["mapping"], &"inconclusive".into())?;
        // Where TCP gets out, too, the relay is there.
        let relay = findings.tcp.contains(&8080);
        same("can_connect", &report["can_connect"], &relay.into())?;
        return if !relay || codes.contains(&"udp-blocked".into()) {
            Ok(())
        } else {
            Err(format!("no verdict says that UDP is blocked: {codes:?}"))
        };
    }
    for key in ["mapping", "filtering", "preserves_port"] {
        same(key, &nat[key], &expected[key])?;
    }
    // Linux drops what seems to come from itself, which is what a host gets that talks to itself through a NAT that
    // leaves the inner address in place.
    let hairpins = expected["hairpin"] == "external";
    let mapping = nat["mapping"].as_str().unwrap_or_default();
    match (&nat["hairpin"], mapping) {
        // Mapping and filtering hide it, or there is no NAT.
        (Value::Null, "none" | "address-dependent" | "address-and-port-dependent") => {}
        (found, _) => same("hairpin", found, &hairpins.into())?,
    }
    let depends = mapping.ends_with("dependent") && mapping != "endpoint-independent";
    let told = codes.contains(&"mapping-depends-on-destination".into());
    same("the verdict on the mapping", &told.into(), &depends.into())?;
    same("can_connect", &report["can_connect"], &true.into())
}

#[test]
fn two_doctors_predict_the_path_that_their_machines_get() {
    let (Some(mut lab), Some(sterna)) = (lab(), sterna::program()) else { return };
    let server = lab.add_server("server", 2).unwrap();
    let [public, second] = [0, 1].map(|n| server.addresses()[n].to_string());
    let arguments = ["serve", "--listen", "0.0.0.0", "--public-ip", &public, "--stun-alternate", &second];
    let folder = lab.folder().to_owned();
    let start = |host: &Host, arguments: &[&str]| {
        Program::start(&sterna, host, &folder, arguments, &Stop::default()).unwrap()
    };
    let mut serving = start(&server, &arguments);
    event(&mut serving, "listening");
    let url = format!("http://{public}:8080");
    for (a, b, path) in [
        (Preset::Symmetric, Preset::Symmetric, "relayed"),
        (Preset::PortRestricted, Preset::Symmetric, "relayed"),
        (Preset::Symmetric, Preset::FullCone, "direct"),
    ] {
        let [one, other] = [("a", a, b), ("b", b, a)].map(|(side, own, others)| {
            let mut site = lab.add_site(&format!("{side}-{own}-{others}"), own).unwrap();
            lab.add_host(&mut site, &format!("{side}-{own}-{others}-host")).unwrap()
        });
        let mut invites = start(&one, &["doctor", "--invite", "--server", &url]);
        let code = event(&mut invites, "code")["code"].as_str().unwrap().to_owned();
        let mut joins = start(&other, &["doctor", &code, "--server", &url]);
        for (side, own, others) in [(&mut invites, a, b), (&mut joins, b, a)] {
            let report = event(side, "report");
            assert_eq!(compare(own, &report), Ok(()), "{own}: {report:#}");
            let theirs = event(side, "theirs")["report"].clone();
            assert_eq!(compare(others, &theirs), Ok(()), "{others}: {theirs:#}");
            let attempt = event(side, "attempt");
            let said = [&attempt["expected"], &attempt["found"], &attempt["path"]["kind"]];
            assert_eq!(said, [path; 3], "{a} × {b}: {attempt:#}");
            assert_eq!(attempt["held"], true, "{a} × {b}: {attempt:#}");
        }
        for side in [invites, joins] {
            side.end(sterna::PATIENCE).unwrap();
        }
    }
}

#[test]
fn ordinary_stun_servers_tell_that_a_mapping_varies_and_not_on_what_it_depends() {
    let Some(mut lab) = lab() else { return };
    let [Some(one), Some(two)] = ["one", "two"].map(|name| Server::start(&mut lab, name, &[])) else {
        return;
    };
    let [a, b] = [&one, &two].map(|server| format!("{}:3478", server.host.address()));
    for (preset, mapping, varies) in
        [(Preset::Symmetric, "inconclusive", true), (Preset::PortRestricted, "endpoint-independent", false)]
    {
        let mut site = lab.add_site(preset.name(), preset).unwrap();
        let host = lab.add_host(&mut site, &format!("{}-host", preset.name())).unwrap();
        let report = sterna::doctor(&host, &["--stun", &a, "--stun", &b], |_| {});
        let nat = &report["nat"];
        assert_eq!(
            (&nat["mapping"], &nat["mapping_varies"]),
            (&mapping.into(), &varies.into()),
            "{report:#}"
        );
        // Neither can send from elsewhere.
        assert_eq!(nat["filtering"], "inconclusive", "{report:#}");
    }
}
