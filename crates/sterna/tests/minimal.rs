//! The example `minimal` does what it says: two processes, two files, a channel.

use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Where cargo puts examples: beside the directory of the tests.
fn example() -> PathBuf {
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    if path.ends_with("deps") {
        path.pop();
    }
    path.join("examples").join(format!("minimal{}", std::env::consts::EXE_SUFFIX))
}

#[test]
fn two_processes_greet_each_other_without_a_server() {
    let directory = std::env::temp_dir().join(format!("sterna-minimal-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let start = |side: &str| {
        let mut command = Command::new(example());
        command
            .arg(side)
            .current_dir(&directory)
            .stdout(Stdio::piped())
            .spawn()
            .expect("cargo builds examples")
    };
    let (offer, answer) = (start("offer"), start("answer"));
    let (ids, outputs): (Vec<u32>, Vec<_>) =
        [offer, answer].into_iter().map(|child| (child.id(), child.wait_with_output().unwrap())).unzip();
    for (output, other) in outputs.iter().zip([ids[1], ids[0]]) {
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{printed}");
        assert!(printed.starts_with("direct · udp"), "{printed}");
        assert!(printed.contains(&format!("Hello from process {other}!")), "{printed}");
    }
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn it_is_as_short_as_it_claims() {
    let text = include_str!("../examples/minimal.rs");
    let code = text.lines().filter(|line| !line.trim().is_empty() && !line.trim().starts_with("//"));
    assert!(code.count() <= 40);
}
