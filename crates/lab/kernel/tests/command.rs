//! `sterna lab kernel` itself: what it says where it cannot work, and that it leaves nothing behind however it ends.

mod lab;
mod sterna;

use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use lab::lab;
use serde_json::Value;

/// What a busy machine may take for anything.
const PATIENCE: Duration = Duration::from_secs(30);
/// The exit code of a machine that lacks something.
const LACKING: i32 = 9;

/// The command, with its output kept.
fn kernel(arguments: &[&str]) -> Option<Command> {
    let mut command = Command::new(sterna::program()?);
    command.args(["lab", "kernel"]).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Some(command)
}

fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

/// The namespaces that a process has made and not removed.
fn namespaces(of: &Child) -> Vec<String> {
    let output = Command::new("ip").args(["netns", "list"]).output().unwrap();
    let list = String::from_utf8(output.stdout).unwrap();
    let names = list.lines().filter_map(|line| line.split_whitespace().next());
    names.filter(|name| name.starts_with(&format!("sterna-lab-{}-", of.id()))).map(str::to_owned).collect()
}

#[track_caller]
fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "{what} takes longer than {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn without_root_it_says_so() {
    if lab().is_none() {
        return;
    }
    let Some(program) = sterna::program() else { return };
    // Nobody may be unable to read the folder in which it was built.
    let folder = std::env::temp_dir().join(format!("sterna-rootless-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).unwrap();
    let copy = folder.join("sterna");
    std::fs::copy(program, &copy).unwrap();
    for json in [false, true] {
        let mut command = Command::new(&copy);
        command.args(["lab", "kernel", "--presets", "none"]).current_dir("/").uid(65_534).gid(65_534);
        command.args(json.then_some("--json"));
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(LACKING), "{}", said(&output));
        assert!(said(&output).contains("needs root"), "{}", said(&output));
        if json {
            let event: Value = serde_json::from_slice(&output.stdout).unwrap();
            assert_eq!((&event["event"], &event["code"]), (&"failed".into(), &"machine".into()));
        }
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn without_nftables_it_says_what_to_install() {
    if lab().is_none() {
        return;
    }
    let Some(mut command) = kernel(&["--presets", "none"]) else { return };
    let folder = std::env::temp_dir().join(format!("sterna-no-nft-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    let ip = ["/usr/sbin/ip", "/sbin/ip", "/usr/bin/ip", "/bin/ip"]
        .into_iter()
        .find(|it| std::fs::exists(it).unwrap());
    symlink(ip.unwrap(), folder.join("ip")).unwrap();
    let output = command.env("PATH", &folder).output().unwrap();
    std::fs::remove_dir_all(folder).unwrap();
    assert_eq!(output.status.code(), Some(LACKING), "{}", said(&output));
    assert!(said(&output).contains("needs `nft`; try apt-get install nftables"), "{}", said(&output));
}

#[test]
fn what_is_not_offered_is_wrong_usage() {
    for (presets, word) in [("nat64", "IPv4 only"), ("cone", "no preset")] {
        let Some(mut command) = kernel(&["--presets", presets]) else { return };
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        assert!(said(&output).contains(word), "{}", said(&output));
    }
}

/// Lets it begin, ends it, and tells its exit code.
fn ended_by(signal: &str) -> Option<Option<i32>> {
    lab()?;
    let mut child = kernel(&["--presets", "full-cone,cgn"])?.spawn().unwrap();
    wait_until("the first namespaces", || namespaces(&child).len() > 5);
    assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
    let mut code = None;
    wait_until("the end", || {
        code = child.try_wait().unwrap();
        code.is_some()
    });
    wait_until("the tidying", || namespaces(&child).is_empty());
    let mine = format!("sterna-lab-{}-", child.id());
    wait_until("the tidying of files", || {
        let files = std::fs::read_dir(std::env::temp_dir()).unwrap().flatten();
        !files.into_iter().any(|file| file.file_name().to_string_lossy().starts_with(&mine))
    });
    Some(code.and_then(|code| code.code()))
}

#[test]
fn interrupted_it_tidies_up() {
    let Some(code) = ended_by("-INT") else { return };
    assert_eq!(code, Some(130));
}

#[test]
fn asked_to_end_it_tidies_up() {
    let Some(code) = ended_by("-TERM") else { return };
    assert_eq!(code, Some(130));
}

#[test]
fn killed_it_is_tidied_up_after() {
    let Some(code) = ended_by("-KILL") else { return };
    assert_eq!(code, None);
}

#[test]
fn a_probe_tells_what_each_preset_does() {
    if lab().is_none() {
        return;
    }
    let Some(mut command) = kernel(&["--probe", "--presets", "full-cone,symmetric", "--json"]) else {
        return;
    };
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let lines = String::from_utf8(output.stdout).unwrap();
    let told: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told: Vec<_> = told.iter().filter(|line| line.get("preset").is_some()).collect();
    let keys =
        |n: usize| ["preset", "mapping", "filtering", "hairpin"].map(|key| told[n][key].as_str().unwrap());
    assert_eq!(told.len(), 2);
    assert_eq!(keys(0), ["full-cone", "endpoint-independent", "endpoint-independent", "none"]);
    assert_eq!(keys(1), ["symmetric", "address-and-port-dependent", "address-and-port-dependent", "none"]);
    assert!(told.iter().all(|line| line["agrees"] == true), "{lines}");
}
