//! A raw TCP server for this room's tests: it keeps every byte it was sent, and answers or misbehaves as told.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// A request as it came over the wire.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Method and path.
    pub line: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// The body was as long as announced.
    pub complete: bool,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub fn is_token(&self) -> bool {
        self.line.contains("/v2/auth/token")
    }
}

/// What to do with a request.
pub enum Act {
    /// These bytes, and on with the connection.
    Answer(String),
    /// These bytes, then silence.
    Stall(String),
    /// These bytes; after the head one at a time, twenty a second.
    Drip(String),
    /// Close without a word.
    Cut,
}

pub fn answer(status: u16, headers: &str, body: &str) -> Act {
    Act::Answer(format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n{headers}\r\n{body}", body.len()))
}

type Handler = dyn Fn(&Seen) -> Option<Act> + Send + Sync;

/// The server; it ends with the test's runtime.
pub struct Server {
    address: SocketAddr,
    /// Bytes of bodies that came after the answer to them.
    pub late: Arc<AtomicU64>,
    seen: Arc<Mutex<Vec<Seen>>>,
    accepting: JoinHandle<()>,
}

impl Server {
    /// `handler` decides; where it does not, tokens `token-1`, `token-2`, … are given and all else is 500.
    pub async fn start(handler: impl Fn(&Seen) -> Option<Act> + Send + Sync + 'static) -> Self {
        Self::with(false, Arc::new(handler)).await
    }

    /// One that answers calls as soon as it has their headers, and swallows the body afterwards.
    pub async fn eager(handler: impl Fn(&Seen) -> Option<Act> + Send + Sync + 'static) -> Self {
        Self::with(true, Arc::new(handler)).await
    }

    async fn with(eager: bool, handler: Arc<Handler>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let record = Arc::clone(&seen);
        let late = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&late);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, eager, Arc::clone(&record), Arc::clone(&handler), Arc::clone(&counted)));
            }
        });
        Self { address, late, seen, accepting }
    }

    /// From now on nobody listens there.
    pub async fn close(self) {
        self.accepting.abort();
        assert!(self.accepting.await.unwrap_err().is_cancelled());
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub fn tokens(&self) -> usize {
        self.seen().iter().filter(|seen| seen.is_token()).count()
    }

    /// Everything but token requests.
    pub fn calls(&self) -> Vec<Seen> {
        self.seen().into_iter().filter(|seen| !seen.is_token()).collect()
    }
}

async fn serve(
    mut stream: TcpStream,
    eager: bool,
    record: Arc<Mutex<Vec<Seen>>>,
    handler: Arc<Handler>,
    late: Arc<AtomicU64>,
) {
    let mut buffer = Vec::new();
    while let Some(seen) = read(&mut stream, &mut buffer, eager).await {
        let tokens = {
            let mut record = record.lock().unwrap();
            record.push(seen.clone());
            record.iter().filter(|seen| seen.is_token()).count()
        };
        if !seen.complete && !eager {
            return;
        }
        let act = handler(&seen).unwrap_or_else(|| match seen.is_token() {
            true => answer(200, "", &format!(r#"{{"access_token":"token-{tokens}","expires_in":300}}"#)),
            false => answer(500, "", ""),
        });
        match act {
            Act::Answer(bytes) => stream.write_all(bytes.as_bytes()).await.unwrap(),
            Act::Stall(bytes) => {
                stream.write_all(bytes.as_bytes()).await.unwrap();
                // Held until the client gives up.
                let _ = stream.read(&mut [0]).await;
                return;
            }
            Act::Drip(bytes) => {
                let (head, body) = bytes.split_once("\r\n\r\n").unwrap();
                stream.write_all(format!("{head}\r\n\r\n").as_bytes()).await.unwrap();
                for byte in body.bytes() {
                    stream.write_u8(byte).await.unwrap();
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                }
            }
            Act::Cut => return,
        }
        if !seen.complete {
            let mut buffer = [0; 65_536];
            loop {
                match stream.read(&mut buffer).await.unwrap_or(0) {
                    0 => return,
                    n => late.fetch_add(n as u64, Ordering::SeqCst),
                };
            }
        }
    }
}

/// One request; `None` at the end of the connection.
async fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>, eager: bool) -> Option<Seen> {
    let end = loop {
        if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(buffer).await.unwrap_or(0) == 0 {
            return None;
        }
    };
    let head = String::from_utf8(buffer.drain(..end).collect()).unwrap();
    let mut lines = head.trim_end().split("\r\n");
    let line = lines.next().unwrap().to_owned();
    let headers: Vec<(String, String)> =
        lines.filter_map(|line| line.split_once(": ")).map(|(key, value)| (key.to_lowercase(), value.into())).collect();
    assert!(headers.iter().all(|(key, _)| key != "transfer-encoding"), "a body without a length");
    let length = headers.iter().find(|(key, _)| key == "content-length").map_or(0, |(_, value)| value.parse().unwrap());
    let wait = !eager || line.contains("/v2/auth/token");
    while wait && buffer.len() < length && stream.read_buf(buffer).await.unwrap_or(0) > 0 {}
    let complete = buffer.len() >= length;
    let body = buffer.drain(..length.min(buffer.len())).collect();
    Some(Seen { line, headers, body, complete })
}
