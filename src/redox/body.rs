//! The body of a request around one open file: streamed, hashed on the way, and never completed with other bytes than
//! those that were identified.

use std::{
    fs::File,
    io,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    time::Duration,
};

use aws_lc_rs::digest::{Context, SHA256};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures_util::stream;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::UploadBody;
use crate::{model::document::Content, platform::effect};

/// Read at once; a multiple of 3, so that base64 needs no padding before the end.
const CHUNK: u64 = 63 * 1024;
/// Handed over at once. The HTTP client keeps up to 16 pieces before it waits for the line: the smaller they are, the sooner a
/// slow line shows that it moves.
const PIECE: usize = 9 * 1024;

/// How the file's bytes are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Raw,
    Base64,
}

/// What comes before and after the file's bytes.
#[derive(Clone, Debug)]
pub(super) struct Envelope {
    pub(super) prefix: Bytes,
    pub(super) encoding: Encoding,
    pub(super) suffix: Bytes,
}

impl Envelope {
    /// An upload's envelope and its Content-Type.
    pub(super) fn of_upload(form: UploadBody, mime: &str) -> (Self, String) {
        match form {
            UploadBody::Raw => {
                (Self { prefix: Bytes::new(), encoding: Encoding::Raw, suffix: Bytes::new() }, mime.to_owned())
            }
            UploadBody::Multipart => Self::multipart(mime),
            UploadBody::FhirJson => {
                let mime = serde_json::Value::from(mime);
                let prefix = format!(r#"{{"resourceType":"Binary","contentType":{mime},"data":""#);
                let suffix = Bytes::from_static(b"\"}");
                (Self { prefix: prefix.into(), encoding: Encoding::Base64, suffix }, "application/fhir+json".to_owned())
            }
        }
    }

    fn multipart(mime: &str) -> (Self, String) {
        let boundary = format!("chartdrop-{}", Uuid::new_v4().simple());
        // The file's own name may be a patient's; nobody downstream needs it here.
        let prefix = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"document.{}\"\r\n\
             Content-Type: {mime}\r\n\r\n",
            extension(mime)
        );
        let suffix = format!("\r\n--{boundary}--\r\n");
        let envelope = Self { prefix: prefix.into(), encoding: Encoding::Raw, suffix: suffix.into() };
        (envelope, format!("multipart/form-data; boundary={boundary}"))
    }

    /// The whole body's length.
    fn length(&self, size: u64) -> u64 {
        let file = match self.encoding {
            Encoding::Raw => size,
            Encoding::Base64 => size.div_ceil(3) * 4,
        };
        self.prefix.len() as u64 + file + self.suffix.len() as u64
    }
}

fn extension(mime: &str) -> &'static str {
    match mime {
        "application/pdf" => "pdf",
        "image/tiff" => "tiff",
        "image/jpeg" => "jpg",
        "image/png" => "png",
        "application/rtf" | "text/rtf" => "rtf",
        "text/plain" => "txt",
        "application/xml" | "text/xml" => "xml",
        _ => "bin",
    }
}

/// How far a body has come; shared with whoever waits for the answer.
///
/// Invariant: once it is [`seal`](Self::seal)ed before the last piece was handed over, the last piece never is. Who seals it
/// therefore knows whether the whole request can have arrived, and does not guess.
#[derive(Clone)]
pub(super) struct Progress(Arc<Shared>);

struct Shared {
    state: AtomicU8,
    began: Instant,
    /// When the last piece was taken, in milliseconds since it began.
    moved: AtomicU64,
    /// The answer has been read, or nobody waits for one.
    over: CancellationToken,
}

/// The states of [`Progress`]. Each of them but the first is final.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum State {
    /// The last piece has not been handed over: nobody can have received the whole.
    Partial = 0,
    /// The last piece was handed over, or is about to be.
    Whole = 1,
    /// The file is no longer the one that was identified.
    Changed = 2,
    /// The file cannot be read.
    Unreadable = 3,
    /// It was given up before its last piece, which will not be handed over any more.
    Sealed = 4,
}

impl Progress {
    fn new() -> Self {
        Self(Arc::new(Shared {
            state: AtomicU8::new(State::Partial as u8),
            began: Instant::now(),
            moved: AtomicU64::new(0),
            over: CancellationToken::new(),
        }))
    }

    /// The first change from `Partial` is the only one. Returns whether this was it.
    fn set(&self, state: State) -> bool {
        self.0.state.compare_exchange(State::Partial as u8, state as u8, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    pub(super) fn state(&self) -> State {
        match self.0.state.load(Ordering::SeqCst) {
            0 => State::Partial,
            1 => State::Whole,
            2 => State::Changed,
            3 => State::Unreadable,
            _ => State::Sealed,
        }
    }

    /// Ends the body where it is, and returns how far it came: never `Partial`, which becomes `Sealed`.
    pub(super) fn seal(&self) -> State {
        self.set(State::Sealed);
        self.state()
    }

    /// For the one who waits for the answer: when this is dropped, a body that has not ended breaks off.
    pub(super) fn end_on_drop(&self) -> Ended {
        Ended(self.clone())
    }

    fn moves(&self) {
        let now = u64::try_from(self.0.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.0.moved.store(now, Ordering::SeqCst);
    }

    /// Returns when no piece has been taken for `limit`.
    pub(super) async fn silence(&self, limit: Duration) {
        loop {
            let moved = self.0.moved.load(Ordering::SeqCst);
            tokio::time::sleep_until(self.0.began + Duration::from_millis(moved) + limit).await;
            if self.0.moved.load(Ordering::SeqCst) == moved {
                return;
            }
        }
    }

    /// A body that was sealed waits with breaking the connection until the answer that it was sealed for has been read.
    async fn broken_off<T>(&self) -> io::Result<T> {
        self.0.over.cancelled().await;
        Err(io::Error::other("the request was given up"))
    }
}

/// See [`Progress::end_on_drop`].
pub(super) struct Ended(Progress);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.seal();
        self.0.0.over.cancel();
    }
}

/// A body, its exact length, and how far it has come.
pub(super) struct Outgoing {
    pub(super) body: reqwest::Body,
    pub(super) length: u64,
    pub(super) progress: Progress,
}

impl Outgoing {
    /// Bytes that are at hand.
    pub(super) fn whole(bytes: Bytes) -> Self {
        let progress = Progress::new();
        let length = bytes.len() as u64;
        let taken = progress.clone();
        let stream = stream::once(async move {
            taken.moves();
            if taken.set(State::Whole) { Ok(bytes) } else { taken.broken_off().await }
        });
        Self { body: reqwest::Body::wrap_stream(stream), length, progress }
    }

    /// A file in its envelope, never held in memory as a whole.
    pub(super) fn file(envelope: Envelope, file: File, content: &Content) -> Self {
        let progress = Progress::new();
        let length = envelope.length(content.size);
        let reader = Reader {
            envelope,
            file,
            content: content.clone(),
            offset: 0,
            digest: Context::new(&SHA256),
            progress: progress.clone(),
            ended: false,
        };
        let taken = progress.clone();
        let stream = stream::try_unfold((reader, Bytes::new()), move |(mut reader, mut rest)| {
            let taken = taken.clone();
            async move {
                if rest.is_empty() && reader.ended {
                    return Ok(None);
                }
                if rest.is_empty() {
                    let read = tokio::task::spawn_blocking(move || reader.read().map(|bytes| (reader, bytes)));
                    (reader, rest) = read.await.map_err(io::Error::other)??;
                }
                taken.moves();
                let piece = rest.split_to(rest.len().min(PIECE));
                let is_last = rest.is_empty() && reader.ended;
                let is_wanted = if is_last { taken.set(State::Whole) } else { taken.state() != State::Sealed };
                if is_wanted { Ok(Some((piece, (reader, rest)))) } else { taken.broken_off().await }
            }
        });
        Self { body: reqwest::Body::wrap_stream(stream), length, progress }
    }
}

/// How far a file's stream is.
struct Reader {
    envelope: Envelope,
    file: File,
    content: Content,
    offset: u64,
    digest: Context,
    progress: Progress,
    ended: bool,
}

impl Reader {
    /// The next bytes; the last ones only if the file was what it had to be.
    fn read(&mut self) -> io::Result<Bytes> {
        let mut chunk = vec![0; (self.content.size - self.offset).min(CHUNK) as usize];
        self.fill(&mut chunk)?;
        self.digest.update(&chunk);
        let mut piece = std::mem::take(&mut self.envelope.prefix).to_vec();
        match self.envelope.encoding {
            Encoding::Raw => piece.append(&mut chunk),
            Encoding::Base64 => piece.extend_from_slice(STANDARD.encode(&chunk).as_bytes()),
        }
        if self.offset == self.content.size {
            self.verify()?;
            piece.extend_from_slice(&self.envelope.suffix);
            self.ended = true;
        }
        Ok(piece.into())
    }

    fn fill(&mut self, chunk: &mut [u8]) -> io::Result<()> {
        match effect::read_exact_at(&self.file, chunk, self.offset) {
            Ok(()) => {
                self.offset += chunk.len() as u64;
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(self.changed()),
            Err(error) => {
                self.progress.set(State::Unreadable);
                Err(error)
            }
        }
    }

    fn verify(&mut self) -> io::Result<()> {
        let grown = effect::file_metadata(&self.file).is_ok_and(|metadata| metadata.len() != self.content.size);
        if grown || self.digest.clone().finish().as_ref() != self.content.sha256.0 {
            return Err(self.changed());
        }
        Ok(())
    }

    fn changed(&self) -> io::Error {
        self.progress.set(State::Changed);
        io::Error::other("the file changed while it was being sent")
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::{io::Write, os::unix::fs::FileExt};

    use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
    use http_body_util::BodyExt;

    use super::*;
    use crate::model::document::{Sha1, Sha256};

    /// An open file with these bytes, and what is known of them.
    pub fn file_of(bytes: &[u8]) -> (File, Content) {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        let content = Content {
            sha256: Sha256(digest(&SHA256, bytes).as_ref().try_into().unwrap()),
            sha1: Sha1(digest(&SHA1_FOR_LEGACY_USE_ONLY, bytes).as_ref().try_into().unwrap()),
            size: bytes.len() as u64,
            mime: "application/pdf".into(),
            original_sha256: None,
        };
        (file, content)
    }

    /// Bytes that repeat nowhere near a chunk's length.
    pub fn noise(length: usize) -> Vec<u8> {
        (0..length as u64).map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
    }

    type Change = (&'static str, fn(&File));

    const SIZES: [usize; 8] =
        [0, 1, 2, CHUNK as usize - 1, CHUNK as usize, CHUNK as usize + 1, 3 * CHUNK as usize, 200_000];

    #[tokio::test]
    async fn every_form_carries_exactly_the_bytes_and_its_length_is_known_beforehand() {
        for size in SIZES {
            let bytes = noise(size);
            for form in [UploadBody::Raw, UploadBody::Multipart, UploadBody::FhirJson] {
                let (file, content) = file_of(&bytes);
                let (envelope, _) = Envelope::of_upload(form, &content.mime);
                let (prefix, suffix) = (envelope.prefix.clone(), envelope.suffix.clone());
                let outgoing = Outgoing::file(envelope, file, &content);
                let sent = outgoing.body.collect().await.unwrap().to_bytes();
                assert_eq!(sent.len() as u64, outgoing.length, "{form} {size}");
                assert_eq!(outgoing.progress.state(), State::Whole);
                let middle = sent.strip_prefix(&*prefix).unwrap().strip_suffix(&*suffix).unwrap();
                match form {
                    UploadBody::FhirJson => assert_eq!(STANDARD.decode(middle).unwrap(), bytes),
                    UploadBody::Raw | UploadBody::Multipart => assert_eq!(middle, bytes),
                }
            }
        }
    }

    #[tokio::test]
    async fn a_file_that_is_not_what_was_identified_never_completes() {
        let bytes = noise(2 * CHUNK as usize + 10);
        let change: [Change; 4] = [
            ("a byte at the beginning", |file| file.write_all_at(b"~~~~", 0).unwrap()),
            ("a byte at the end", |file| file.write_all_at(b"~~~~", 2 * CHUNK).unwrap()),
            ("shorter", |file| file.set_len(5).unwrap()),
            ("longer", |file| file.set_len(3 * CHUNK).unwrap()),
        ];
        for (name, change) in change {
            for encoding in [Encoding::Raw, Encoding::Base64] {
                let (file, content) = file_of(&bytes);
                change(&file);
                let envelope = Envelope { prefix: "<".into(), encoding, suffix: ">".into() };
                let mut outgoing = Outgoing::file(envelope, file, &content);
                let mut sent = 0;
                let failed = loop {
                    match outgoing.body.frame().await {
                        Some(Ok(frame)) => sent += frame.into_data().unwrap().len() as u64,
                        Some(Err(_)) => break true,
                        None => break false,
                    }
                };
                assert!(failed && sent < outgoing.length, "{name}");
                assert_eq!(outgoing.progress.state(), State::Changed, "{name}");
            }
        }
    }

    #[tokio::test]
    async fn a_file_that_changes_while_it_is_sent_never_completes() {
        let bytes = noise(3 * CHUNK as usize);
        let change: [fn(&File); 3] = [
            |file| file.write_all_at(b"~~~~", 3 * CHUNK - 4).unwrap(),
            |file| file.set_len(2 * CHUNK).unwrap(),
            |file| file.set_len(4 * CHUNK).unwrap(),
        ];
        for change in change {
            let (file, content) = file_of(&bytes);
            let same = file.try_clone().unwrap();
            let envelope = Envelope { prefix: Bytes::new(), encoding: Encoding::Raw, suffix: Bytes::new() };
            let mut outgoing = Outgoing::file(envelope, file, &content);
            let first = outgoing.body.frame().await.unwrap().unwrap().into_data().unwrap();
            assert_eq!(first.len(), PIECE);
            assert_eq!(outgoing.progress.state(), State::Partial);
            change(&same);
            assert!(outgoing.body.collect().await.is_err());
            assert_eq!(outgoing.progress.state(), State::Changed);
        }
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_read_is_not_called_changed() {
        let (_, content) = file_of(b"some bytes");
        let folder = File::open("/").unwrap();
        let envelope = Envelope { prefix: "<".into(), encoding: Encoding::Raw, suffix: ">".into() };
        let outgoing = Outgoing::file(envelope, folder, &content);
        assert!(outgoing.body.collect().await.is_err());
        assert_eq!(outgoing.progress.state(), State::Unreadable);
    }

    /// Takes pieces until one is refused; returns how many bytes came.
    async fn rest_of(body: &mut reqwest::Body) -> u64 {
        let mut sent = 0;
        while let Some(Ok(frame)) = body.frame().await {
            sent += frame.into_data().unwrap().len() as u64;
        }
        sent
    }

    #[tokio::test]
    async fn a_body_that_was_given_up_never_ends() {
        for size in [1, PIECE, PIECE + 1, 3 * CHUNK as usize] {
            for taken in [0, 1, size.div_ceil(PIECE) - 1, size.div_ceil(PIECE)] {
                let (file, content) = file_of(&noise(size));
                let envelope = Envelope { prefix: Bytes::new(), encoding: Encoding::Raw, suffix: Bytes::new() };
                let mut outgoing = Outgoing::file(envelope, file, &content);
                for _ in 0..taken {
                    outgoing.body.frame().await;
                }
                let is_whole = taken >= size.div_ceil(PIECE);
                let expected = if is_whole { State::Whole } else { State::Sealed };
                assert_eq!(outgoing.progress.seal(), expected, "{taken} of {size}");
                drop(outgoing.progress.end_on_drop());
                let rest = rest_of(&mut outgoing.body).await;
                assert!(is_whole || (taken * PIECE) as u64 + rest < size as u64, "{taken} of {size}");
                assert_eq!(outgoing.progress.state(), expected);
            }
        }
        let mut message = Outgoing::whole("{}".into());
        assert_eq!(message.progress.seal(), State::Sealed);
        drop(message.progress.end_on_drop());
        assert_eq!(rest_of(&mut message.body).await, 0);
    }

    /// Whoever gives up and whoever hands over the last piece race here: both must agree on who was first.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn whether_the_last_piece_was_handed_over_is_known_however_close_it_was() {
        let mut seen = [0; 2];
        for round in 0..2000_u64 {
            let outgoing = Outgoing::whole("{}".into());
            let progress = outgoing.progress.clone();
            let mut body = outgoing.body;
            let taking = tokio::spawn(async move { rest_of(&mut body).await });
            for _ in 0..round % 50 {
                tokio::task::yield_now().await;
            }
            let state = progress.seal();
            drop(progress.end_on_drop());
            assert_eq!(taking.await.unwrap() == 2, state == State::Whole);
            seen[usize::from(state == State::Whole)] += 1;
        }
        assert!(seen[1] > 0, "{seen:?}");
    }

    #[tokio::test]
    async fn a_sealed_body_breaks_off_only_when_the_answer_has_been_read() {
        let mut message = Outgoing::whole("{}".into());
        let end = message.progress.end_on_drop();
        message.progress.seal();
        let mut frame = std::pin::pin!(message.body.frame());
        assert!(futures_util::poll!(&mut frame).is_pending());
        drop(end);
        assert!(frame.await.unwrap().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_counted_from_the_last_piece() {
        let (file, content) = file_of(&noise(5 * PIECE));
        let envelope = Envelope { prefix: Bytes::new(), encoding: Encoding::Raw, suffix: Bytes::new() };
        let mut outgoing = Outgoing::file(envelope, file, &content);
        let progress = outgoing.progress.clone();
        let began = Instant::now();
        let taking = tokio::spawn(async move {
            while outgoing.body.frame().await.is_some() {
                tokio::time::sleep(Duration::from_secs(7)).await;
            }
        });
        progress.silence(Duration::from_secs(10)).await;
        let waited = began.elapsed().as_secs();
        assert!((38..=39).contains(&waited), "four pauses, then silence: {waited}");
        taking.await.unwrap();
    }

    #[test]
    fn no_name_of_a_file_is_in_a_form() {
        let (envelope, content_type) = Envelope::of_upload(UploadBody::Multipart, "image/tiff");
        let boundary = content_type.strip_prefix("multipart/form-data; boundary=").unwrap();
        assert_eq!(
            envelope.prefix,
            format!(
                "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"document.tiff\"\r\n\
                 Content-Type: image/tiff\r\n\r\n"
            )
        );
        let (_, another) = Envelope::of_upload(UploadBody::Multipart, "image/tiff");
        assert_ne!(content_type, another, "a boundary that cannot be foreseen");
    }
}
