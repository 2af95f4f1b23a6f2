use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::error::LabError;

/// Waits until the lab's process is gone, however it went, and removes the namespaces and the folder that it left.
/// What is written to its input says that there are none.
///
/// `ip netns add` may still be on its way when its parent is killed, therefore the second look.
const PROGRAM: &str = r#"
trap '' HUP INT QUIT TERM PIPE
read -r word && exit 0
for look in 1 2 3; do
    ip netns list | while read -r name rest; do
        case $name in "$1"*)
            pids=$(ip netns pids "$name")
            [ -z "$pids" ] || kill -KILL $pids
            ip netns delete "$name"
        esac
    done
    sleep 0.3
done
rm -rf "$2"
"#;

/// A process that outlives ours if ours is killed, and tidies up then.
#[derive(Debug)]
pub(crate) struct Guardian(Child);

impl Guardian {
    /// A guardian of the namespaces whose names begin like this, and of a folder.
    pub(crate) fn new(prefix: &str, folder: &Path) -> Result<Self, LabError> {
        let mut command = Command::new("sh");
        command.args(["-c", PROGRAM, "sterna-lab-guardian", prefix]).arg(folder);
        // A group of its own: what ends us by Ctrl-C in a terminal must not end it.
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let child =
            command.spawn().map_err(|source| LabError::Io { what: "running `sh`".to_owned(), source })?;
        Ok(Self(child))
    }
}

impl Drop for Guardian {
    fn drop(&mut self) {
        if let Some(mut input) = self.0.stdin.take() {
            let _ = input.write_all(b"nothing is left\n");
        }
        let _ = self.0.wait();
    }
}
