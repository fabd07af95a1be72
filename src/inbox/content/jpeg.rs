//! Where a JPEG ends: its segments are followed to the scan, and the scan to its end mark.
//!
//! Searching the file for the end mark would not do: the preview within the EXIF data has one of its own.

use std::io;

use super::{
    End,
    bytes::{Bytes, Forward, find},
};

const SOI: u8 = 0xd8;
const EOI: u8 = 0xd9;
const SOS: u8 = 0xda;

/// A phone's picture may hold several: the light map, the depth map.
const MAX_PICTURES: usize = 16;

pub(super) fn end(bytes: &Bytes<'_>) -> io::Result<End> {
    let mut at = 0;
    for _ in 0..MAX_PICTURES {
        match picture_end(bytes, at)? {
            End::At(end) => at = end,
            other => return Ok(other),
        }
        let next = bytes.read(at, 4 * 1024)?;
        if find(&next, b"ftyp").is_some() {
            // A "motion photo": the film after the picture is not shown by anything that shows the picture.
            return Ok(End::At(bytes.size));
        }
        // Some cameras pad up to the next picture.
        match find(&next, &[0xff, SOI, 0xff]) {
            Some(offset) => at += offset as u64,
            None => break,
        }
    }
    Ok(End::At(at))
}

fn picture_end(bytes: &Bytes<'_>, start: u64) -> io::Result<End> {
    let mut reader = Forward::new(bytes, start + 2);
    let mut scanned = false;
    while let Some(marker) = next_marker(&mut reader, scanned)? {
        match marker {
            EOI if scanned => return Ok(End::At(reader.at)),
            EOI => return End::missing("it ends before its picture begins"),
            // Restart marks, and those without a segment.
            0x01 | SOI | 0xd0..=0xd7 => {}
            // Reserved, and never followed by a segment: noise within a scan.
            0x02..=0xbf if scanned => {}
            _ => {
                let at = reader.at;
                match reader.be16()? {
                    Some(length) if length >= 2 => reader.skip(u64::from(length) - 2),
                    Some(_) => return End::missing(format!("it makes no sense from byte {at} on")),
                    None => break,
                }
                scanned |= marker == SOS;
            }
        }
    }
    if scanned {
        End::missing("its end mark (EOI) is missing")
    } else {
        End::missing("it ends before its picture begins")
    }
}

/// The byte after the next `FF`, stuffing and filling apart. Between segments, nothing may come before it.
fn next_marker(reader: &mut Forward<'_>, scanned: bool) -> io::Result<Option<u8>> {
    while let Some(byte) = reader.next()? {
        if byte != 0xff {
            if scanned {
                continue;
            }
            return Ok(None);
        }
        while reader.peek()? == Some(0xff) {
            reader.skip(1);
        }
        match reader.next()? {
            Some(0) => {}
            marker => return Ok(marker),
        }
    }
    Ok(None)
}
