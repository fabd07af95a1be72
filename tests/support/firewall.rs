//! A box between chartdrop and the sandbox, as clinics have them: it may object to one file, or be plugged in late.

#![allow(dead_code, reason = "each test target uses a part")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
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
    /// The requests that got one.
    refused: Mutex<Vec<Vec<u8>>>,
}

/// An address where nobody listens yet.
pub fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

impl Firewall {
    /// In front of the sandbox at `base_url`.
    pub fn new(base_url: &str) -> Self {
        Self::at(free_address(), base_url)
    }

    /// The same at an address of one's choice.
    pub fn at(address: SocketAddr, base_url: &str) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let sandbox = base_url.strip_prefix("http://").unwrap().to_owned();
        let shared = Arc::new(Shared { sandbox, forbidden: Mutex::default(), refused: Mutex::default() });
        let of_thread = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
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

    /// For each request that it refused, the first of these words in it.
    pub fn refused(&self, words: &[String]) -> Vec<String> {
        let refused = self.shared.refused.lock().unwrap();
        let of = |request: &Vec<u8>| words.iter().find(|word| contains(request, word.as_bytes())).cloned();
        refused.iter().map(|request| of(request).unwrap_or_default()).collect()
    }
}

impl Shared {
    fn serve(&self, mut client: TcpStream) -> io::Result<()> {
        let request = read_request(&mut client)?;
        let forbidden = self.forbidden.lock().unwrap().clone();
        if !forbidden.is_empty() && contains(&request, &forbidden) {
            self.refused.lock().unwrap().push(request);
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
