//! The lab leaves nothing behind.

mod lab;

use std::process::{Command, Stdio};

use lab::lab;
use netsim::Preset;

fn namespaces(of: &str) -> Vec<String> {
    let output = Command::new("ip").args(["netns", "list"]).output().unwrap();
    let list = String::from_utf8(output.stdout).unwrap();
    let names = list.lines().filter_map(|line| line.split_whitespace().next());
    names.filter(|name| name.contains(of)).map(str::to_owned).collect()
}

/// Whether something of a lab shows in the machine's own network.
fn leaked() -> bool {
    let shows = |program: &str, arguments: &[&str], ours: &[&str]| {
        let output = Command::new(program).args(arguments).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        ours.iter().any(|word| text.contains(word))
    };
    shows("ip", &["-o", "link"], &[": lan:", ": wan@", ": link1@", ": host1@"])
        || shows("ip", &["route", "show", "table", "all"], &["5.5.0.1"])
        || shows("nft", &["list", "ruleset"], &["table ip lab"])
}

#[test]
fn a_panic_tidies_up_and_the_machines_own_network_is_not_touched() {
    if lab().is_none() {
        return;
    }
    let mine = format!("-{}-", std::process::id());
    let died = std::thread::spawn(move || {
        let mut lab = lab().unwrap();
        let mut site = lab.add_site("panicking", Preset::Symmetric).unwrap();
        let host = lab.add_host(&mut site, "panicked").unwrap();
        let child = host.command("sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap();
        while Command::new("ip")
            .args(["netns", "pids"])
            .arg(&namespaces("-panicked")[0])
            .output()
            .unwrap()
            .stdout
            .is_empty()
        {
            std::thread::yield_now();
        }
        assert!(!leaked());
        std::panic::panic_any(child);
    })
    .join();
    let mut child = died.unwrap_err().downcast::<std::process::Child>().unwrap();
    assert!(!child.wait().unwrap().success(), "what ran in the lab was killed with it");
    let left: Vec<_> = namespaces(&mine).into_iter().filter(|name| name.contains("panick")).collect();
    assert_eq!(left, Vec::<String>::new());
    assert!(!leaked());
}

#[test]
fn what_a_killed_process_left_is_removed_by_the_next_lab() {
    if lab().is_none() {
        return;
    }
    // As if a process with our id, but of another time, had made it.
    let stale = format!("sterna-lab-{}-1-0-stale", std::process::id());
    let foreign = format!("foreign-{}", std::process::id());
    for name in [&stale, &foreign] {
        assert!(Command::new("ip").args(["netns", "add", name]).status().unwrap().success());
    }
    let mut child = Command::new("ip").args(["netns", "exec", &stale, "sleep", "1000"]).spawn().unwrap();
    while Command::new("ip").args(["netns", "pids", &stale]).output().unwrap().stdout.is_empty() {
        std::thread::yield_now();
    }
    let _lab = lab().unwrap();
    assert_eq!(namespaces(&stale), Vec::<String>::new());
    assert!(!child.wait().unwrap().success());
    assert_eq!(namespaces(&foreign), std::slice::from_ref(&foreign), "others' namespaces stay");
    assert!(Command::new("ip").args(["netns", "delete", &foreign]).status().unwrap().success());
}
