//! Positioned, bounded reads of an open file.

use std::{fs::File, io};

use crate::platform::effect;

/// The most that is read at once.
pub(super) const CHUNK: usize = 64 * 1024;

/// A file and the size it is taken to have.
pub(super) struct Bytes<'a> {
    pub file: &'a File,
    pub size: u64,
}

impl Bytes<'_> {
    /// As many bytes from `at` as there are, at most `length` and at most [`CHUNK`].
    pub fn read(&self, at: u64, length: usize) -> io::Result<Vec<u8>> {
        let there = usize::try_from(self.size.saturating_sub(at)).unwrap_or(usize::MAX);
        let mut buffer = vec![0; length.min(CHUNK).min(there)];
        effect::read_exact_at(self.file, &mut buffer, at)?;
        Ok(buffer)
    }

    /// Exactly `N` bytes; `None` beyond the end.
    pub fn array<const N: usize>(&self, at: u64) -> io::Result<Option<[u8; N]>> {
        Ok(self.read(at, N)?.try_into().ok())
    }

    /// How many zeros the file ends with.
    pub fn blank_tail(&self) -> io::Result<u64> {
        self.blank_before(0, self.size)
    }

    /// How many zeros the bytes between `start` and `end` end with.
    pub fn blank_before(&self, start: u64, end: u64) -> io::Result<u64> {
        let mut at = end;
        // Few pieces end in zeros: a short look suffices for most.
        let mut window = 256;
        while at > start {
            let from = at.saturating_sub(window).max(start);
            let chunk = self.read(from, usize::try_from(at - from).unwrap_or(CHUNK))?;
            match chunk.iter().rposition(|byte| *byte != 0) {
                Some(last) => return Ok(end - from - last as u64 - 1),
                None => at = from,
            }
            window = CHUNK as u64;
        }
        Ok(end - start)
    }

    /// Where `needle` first is, at `from` or later.
    pub fn find(&self, from: u64, needle: &[u8]) -> io::Result<Option<u64>> {
        let mut at = from;
        while at < self.size {
            let chunk = self.read(at, CHUNK)?;
            if let Some(offset) = find(&chunk, needle) {
                return Ok(Some(at + offset as u64));
            }
            if at + chunk.len() as u64 >= self.size {
                break;
            }
            // What the chunk's end divides is read again with the next one.
            at += (chunk.len() - needle.len() + 1) as u64;
        }
        Ok(None)
    }

    /// Where `needle` last is, all of it before `end`.
    pub fn find_last(&self, end: u64, needle: &[u8]) -> io::Result<Option<u64>> {
        let mut end = end;
        while end >= needle.len() as u64 {
            let start = end.saturating_sub(CHUNK as u64);
            let chunk = self.read(start, usize::try_from(end - start).unwrap_or(CHUNK))?;
            if let Some(offset) = find_last(&chunk, needle) {
                return Ok(Some(start + offset as u64));
            }
            if start == 0 {
                break;
            }
            end = start + needle.len() as u64 - 1;
        }
        Ok(None)
    }
}

/// Reads forward, byte by byte, from a buffer of [`CHUNK`] bytes.
pub(super) struct Forward<'a> {
    bytes: &'a Bytes<'a>,
    /// Where the next byte is.
    pub at: u64,
    buffer: Vec<u8>,
    buffer_at: u64,
}

impl<'a> Forward<'a> {
    pub fn new(bytes: &'a Bytes<'a>, at: u64) -> Self {
        Self { bytes, at, buffer: Vec::new(), buffer_at: at }
    }

    /// `None` at the end of the file.
    pub fn next(&mut self) -> io::Result<Option<u8>> {
        let byte = self.peek()?;
        self.at += u64::from(byte.is_some());
        Ok(byte)
    }

    pub fn peek(&mut self) -> io::Result<Option<u8>> {
        if self.at >= self.bytes.size {
            return Ok(None);
        }
        let buffered = self.at.checked_sub(self.buffer_at).is_some_and(|offset| offset < self.buffer.len() as u64);
        if !buffered {
            self.buffer = self.bytes.read(self.at, CHUNK)?;
            self.buffer_at = self.at;
        }
        let offset = usize::try_from(self.at - self.buffer_at).unwrap_or(usize::MAX);
        Ok(self.buffer.get(offset).copied())
    }

    /// `None` when the file ends before the two bytes do.
    pub fn be16(&mut self) -> io::Result<Option<u16>> {
        let (Some(high), Some(low)) = (self.next()?, self.next()?) else { return Ok(None) };
        Ok(Some(u16::from_be_bytes([high, low])))
    }

    /// May lead beyond the end, where there is nothing to read.
    pub fn skip(&mut self, count: u64) {
        self.at = self.at.saturating_add(count);
    }
}

/// Whether there are only zeros.
pub(super) fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

/// Where `needle` first is.
pub(super) fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

/// Where `needle` last is.
pub(super) fn find_last(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).rposition(|window| window == needle)
}
