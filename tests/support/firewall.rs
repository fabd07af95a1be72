//! A box between chartdrop and the sandbox, as clinics have them: it may object to one file, and it may be unplugged.

#![allow(dead_code, reason = "each test target uses a part")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

const FORBIDDEN: &str =
    "HTTP/1.1 403 Forbidden\r\nContent-Type: text/html\r\nContent-Length: 9\r\nConnection: close\r\n\r\nforbidden";

/// Listens on an address of its own and hands every request on to the sandbox, one request a connection.
pub struct Firewall {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    sandbox: String,
    /// Requests that hold these bytes get a 403.
    forbidden: Mutex<Vec<u8>>,
    refused: AtomicUsize,
    /// Connections that were made, whatever became of them.
    connections: AtomicUsize,
    is_unplugged: AtomicBool,
}

impl Firewall {
    /// In front of the sandbox at `base_url`.
    pub fn new(base_url: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            sandbox: base_url.strip_prefix("http://").unwrap().to_owned(),
            forbidden: Mutex::default(),
            refused: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            is_unplugged: AtomicBool::new(false),
        });
        let of_thread = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                of_thread.connections.fetch_add(1, Ordering::Relaxed);
                let shared = Arc::clone(&of_thread);
                // A client that goes away in the middle is nothing to talk about.
                thread::spawn(move || shared.serve(stream).ok());
            }
        });
        Self { address, shared }
    }

    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Objects to every request with these bytes; to none when there are none.
    pub fn forbid(&self, bytes: &str) {
        *self.shared.forbidden.lock().unwrap() = bytes.as_bytes().to_vec();
    }

    /// How many requests it refused.
    pub fn refused(&self) -> usize {
        self.shared.refused.load(Ordering::Relaxed)
    }

    /// How many connections came.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// From now on every connection ends before anything is read, or no more.
    pub fn unplug(&self, is_unplugged: bool) {
        self.shared.is_unplugged.store(is_unplugged, Ordering::Relaxed);
    }
}

impl Shared {
    fn serve(&self, mut client: TcpStream) -> io::Result<()> {
        if self.is_unplugged.load(Ordering::Relaxed) {
            return client.shutdown(Shutdown::Both);
        }
        let request = read_request(&mut client)?;
        let forbidden = self.forbidden.lock().unwrap().clone();
        if !forbidden.is_empty() && contains(&request, &forbidden) {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return client.write_all(FORBIDDEN.as_bytes());
        }
        let mut sandbox = TcpStream::connect(&self.sandbox)?;
        sandbox.write_all(&request)?;
        io::copy(&mut sandbox, &mut client).map(drop)
    }
}

/// A whole request, changed so that its connection ends with the answer.
fn read_request(client: &mut TcpStream) -> io::Result<Vec<u8>> {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 64 << 10]);
    loop {
        if let Some(head) = position(&bytes, b"\r\n\r\n") {
            let words = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
            let body = &bytes[head + 4..];
            let length = words.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
            let is_whole = match length {
                Some(length) => body.len() >= length,
                None if words.contains("transfer-encoding: chunked") => body.ends_with(b"\r\n0\r\n\r\n"),
                None => true,
            };
            if is_whole {
                return Ok([&bytes[..head], b"\r\nConnection: close", &bytes[head..]].concat());
            }
        }
        match client.read(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => bytes.extend_from_slice(&buffer[..n]),
        }
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    position(bytes, part).is_some()
}

fn position(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}
