//! Where a PNG ends: after its `IEND` chunk.

use std::io;

use super::{End, bytes::Bytes};

pub(super) const MARK: &[u8] = b"\x89PNG\r\n\x1a\n";

/// Encoders write chunks of 8 KB and more.
const MAX_CHUNKS: usize = 100_000;

pub(super) fn end(bytes: &Bytes<'_>) -> io::Result<End> {
    let mut at = MARK.len() as u64;
    for index in 0..MAX_CHUNKS {
        let Some([l0, l1, l2, l3, kind @ ..]) = bytes.array::<8>(at)? else {
            return End::missing("its last chunk (IEND) is missing");
        };
        let first = kind == *b"IHDR";
        if !kind.iter().all(u8::is_ascii_alphabetic) || first != (index == 0) {
            return End::missing(format!("it makes no sense from byte {at} on"));
        }
        // Length, type and checksum are twelve bytes.
        at += 12 + u64::from(u32::from_be_bytes([l0, l1, l2, l3]));
        if at > bytes.size {
            return End::missing("it ends within a chunk");
        }
        if kind == *b"IEND" {
            let checksum = bytes.array::<4>(at - 4)?;
            let whole = checksum == Some(*b"\xae\x42\x60\x82");
            return if whole { Ok(End::Here) } else { End::missing("its last chunk (IEND) is not all there") };
        }
    }
    End::missing("it has too many chunks to be a picture")
}
