//! coturn's programs, started and ended.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustls::pki_types::CertificateDer;
use stun::credential::rest_credentials;

pub(crate) const SECRET: &str = "a secret of this test alone";
pub(crate) const REALM: &str = "example.org";

/// Whether coturn is installed. If not, says so.
pub(crate) fn is_there() -> bool {
    let programs = [
        "turnserver",
        "turnutils_uclient",
        "turnutils_stunclient",
        "turnutils_natdiscovery",
        "turnutils_peer",
    ];
    let found = programs.iter().all(|program| program_in_path(program).is_some());
    if !found {
        sterna_interop::missing("coturn");
    }
    found
}

/// Whether a program is installed.
pub(crate) fn has_program(program: &str) -> bool {
    program_in_path(program).is_some()
}

fn program_in_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.exists())
}

/// A time-limited username and its password.
pub(crate) fn credentials() -> (String, String) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    rest_credentials(SECRET, "alice", now + 3600).unwrap()
}

/// A certificate for `localhost`, and its key.
pub(crate) struct Identity {
    pub(crate) certificate: CertificateDer<'static>,
    certificate_pem: String,
    key_pem: String,
    key_der: Vec<u8>,
}

impl Identity {
    pub(crate) fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        Self {
            certificate: made.cert.der().clone(),
            certificate_pem: made.cert.pem(),
            key_pem: made.signing_key.serialize_pem(),
            key_der: made.signing_key.serialize_der(),
        }
    }

    pub(crate) fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    pub(crate) fn rustls(&self) -> rustls::ServerConfig {
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(self.key_der.clone()).into();
        let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate.clone()], key)
            .unwrap()
    }
}

/// A process that ends with its owner.
pub(crate) struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// coturn's server.
pub(crate) struct Coturn {
    _process: Process,
    folder: PathBuf,
    pub(crate) port: u16,
    pub(crate) tls_port: u16,
    pub(crate) identity: Identity,
}

impl Coturn {
    /// Starts it on loopback, for users with time-limited credentials; `options` come on top.
    pub(crate) fn start(options: &[&str]) -> Self {
        Self::start_at(free_port(), options)
    }

    /// The same at a port, which may be that of one that is no more.
    pub(crate) fn start_at(port: u16, options: &[&str]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("sterna-coturn-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let identity = Identity::new();
        let file = |name: &str, content: &str| {
            let path = folder.join(name);
            std::fs::write(&path, content).unwrap();
            path
        };
        let certificate = file("certificate.pem", &identity.certificate_pem);
        let key = file("key.pem", &identity.key_pem);
        let tls_port = free_port();
        let log = std::fs::File::create(folder.join("log")).unwrap();
        let mut command = Command::new("turnserver");
        command
            .args(["-n", "--no-cli", "--log-file", "stdout", "--simple-log", "--verbose"])
            .args(["--listening-ip", "127.0.0.1", "--relay-ip", "127.0.0.1"])
            .args(["--use-auth-secret", "--static-auth-secret", SECRET, "--realm", REALM])
            .args(["--listening-port", &port.to_string(), "--tls-listening-port", &tls_port.to_string()])
            .arg("--cert")
            .arg(certificate)
            .arg("--pkey")
            .arg(key)
            .arg("--pidfile")
            .arg(folder.join("pid"))
            .arg("--userdb")
            .arg(folder.join("users"))
            .args(options)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        let process = Process(command.spawn().unwrap());
        let mut coturn = Self { _process: process, folder, port, tls_port, identity };
        coturn.wait();
        coturn
    }

    /// A file that is removed with the server.
    pub(crate) fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.folder.join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Until it takes connections.
    fn wait(&mut self) {
        let end = Instant::now() + Duration::from_secs(20);
        for port in [self.port, self.tls_port] {
            while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
                let ended = self._process.0.try_wait().unwrap();
                assert!(ended.is_none() && Instant::now() < end, "coturn does not start: {}", self.log());
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

impl Drop for Coturn {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- coturn's log ---\n{}", self.log());
        }
        let _ = std::fs::remove_dir_all(Path::new(&self.folder));
    }
}

/// A port of loopback that is free for UDP and TCP, and likely stays so for a moment.
pub(crate) fn free_port() -> u16 {
    for _ in 0..100 {
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = udp.local_addr().unwrap().port();
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no port is free for UDP and TCP alike");
}

/// coturn's echoing peer, at `ip`.
pub(crate) struct Peer {
    _process: Process,
    pub(crate) address: SocketAddr,
}

impl Peer {
    pub(crate) fn start(ip: &str) -> Self {
        let address = SocketAddr::new(ip.parse().unwrap(), free_port());
        let mut command = Command::new("turnutils_peer");
        command.args(["-L", ip, "-p", &address.port().to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = Process(command.spawn().unwrap());
        let probe = UdpSocket::bind(SocketAddr::new(address.ip(), 0)).unwrap();
        probe.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let end = Instant::now() + Duration::from_secs(20);
        while probe.send_to(b"there?", address).is_err() || probe.recv_from(&mut [0; 100]).is_err() {
            assert!(Instant::now() < end, "turnutils_peer does not answer");
        }
        Self { _process: process, address }
    }
}
