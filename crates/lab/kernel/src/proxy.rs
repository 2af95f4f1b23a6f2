use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::error::LabError;
use crate::namespace::{Namespace, enter};

/// How often somebody who waits for clients looks whether he is still to.
const GLANCE: Duration = Duration::from_millis(20);
/// How long a server may take to be connected with.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest request that is read.
const MAX_REQUEST: usize = 8192;

/// An HTTP proxy on a host of the lab: `CONNECT` (RFC 9110 §9.3.6) and nothing else. It works until it is dropped.
#[derive(Debug)]
pub(crate) struct Proxy {
    desk: Arc<Desk>,
    thread: Option<JoinHandle<()>>,
}

/// What the threads of a proxy share.
#[derive(Debug, Default)]
struct Desk {
    over: AtomicBool,
    /// Both ends of all tunnels, to be shut when it is over.
    open: Mutex<Vec<TcpStream>>,
    asked: Mutex<Vec<String>>,
}

impl Proxy {
    /// Starts one that listens in a namespace.
    pub(crate) fn start(namespace: &Namespace, port: u16) -> Result<Self, LabError> {
        let failed = |source| LabError::Io { what: "starting a proxy".to_owned(), source };
        let name = namespace.name().to_owned();
        let listen = || TcpListener::bind((Ipv4Addr::UNSPECIFIED, port));
        let listener = enter(&name, listen)?.map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let desk = Arc::new(Desk::default());
        let inside = Arc::clone(&desk);
        // Whom it connects to is the namespace's business as well: the thread lives there, and so do those it starts.
        let thread = std::thread::Builder::new().name("proxy".to_owned());
        let thread =
            thread.spawn(move || drop(enter(&name, || serve(&listener, &inside)))).map_err(failed)?;
        Ok(Self { desk, thread: Some(thread) })
    }

    /// Whom it was asked to connect to so far: `host:port`, in this order.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.desk.asked().clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.desk.over.store(true, Ordering::Relaxed);
        // Open sockets would keep the namespace alive.
        for stream in self.desk.open().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Desk {
    fn open(&self) -> MutexGuard<'_, Vec<TcpStream>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn asked(&self) -> MutexGuard<'_, Vec<String>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of a stream that is to be shut at the end.
    fn keep(&self, stream: &TcpStream) -> io::Result<()> {
        let mut open = self.open();
        open.push(stream.try_clone()?);
        if self.over.load(Ordering::Relaxed) {
            stream.shutdown(Shutdown::Both)?;
        }
        Ok(())
    }
}

fn serve(listener: &TcpListener, desk: &Desk) {
    std::thread::scope(|scope| {
        while !desk.over.load(Ordering::Relaxed) {
            match listener.accept() {
                // Whoever breaks off has nobody to be told.
                Ok((client, _)) => drop(scope.spawn(move || drop(attend(client, desk)))),
                Err(_) => std::thread::sleep(GLANCE),
            }
        }
    });
}

/// One client, from its request to the end of its tunnel.
fn attend(mut client: TcpStream, desk: &Desk) -> io::Result<()> {
    client.set_nonblocking(false)?;
    desk.keep(&client)?;
    let Some(target) = request(&mut client)? else {
        return client.write_all(b"HTTP/1.1 405 Method Not Allowed\r\n\r\n");
    };
    desk.asked().push(target.clone());
    let server = target.to_socket_addrs().ok().and_then(|mut found| found.next());
    let connect = |server: SocketAddr| TcpStream::connect_timeout(&server, PATIENCE).ok();
    let Some(server) = server.and_then(connect) else {
        return client.write_all(b"HTTP/1.1 502 Bad Gateway\r\n\r\n");
    };
    desk.keep(&server)?;
    for stream in [&client, &server] {
        stream.set_nodelay(true)?;
    }
    client.write_all(b"HTTP/1.1 200 Connection Established\r\n\r\n")?;
    std::thread::scope(|scope| {
        scope.spawn(|| carry(&client, &server));
        carry(&server, &client);
    });
    Ok(())
}

/// What goes one way, until it ends.
fn carry(mut from: &TcpStream, mut to: &TcpStream) {
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}

/// Whom a client wants to be connected with. Nothing behind the request is read.
fn request(client: &mut TcpStream) -> io::Result<Option<String>> {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") && request.len() < MAX_REQUEST {
        client.read_exact(&mut byte)?;
        request.extend_from_slice(&byte);
    }
    let request = String::from_utf8_lossy(&request);
    let target = request.strip_prefix("CONNECT ").and_then(|rest| rest.split_once(" HTTP/1."));
    Ok(target.map(|(target, _)| target.to_owned()))
}
