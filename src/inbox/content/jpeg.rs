//! Where a JPEG ends: its segments are followed to the scan, and the scans to the picture's own end mark.
//!
//! Searching the file for the end mark would not do: the preview within the EXIF data has one of its own. What follows
//! the end mark (a film, a second picture, a maker's data, padding) is not shown by anything that shows the picture.

use std::io;

use super::{
    End,
    bytes::{Bytes, Forward},
};

const SOI: u8 = 0xd8;
const EOI: u8 = 0xd9;
const SOS: u8 = 0xda;

pub(super) fn end(bytes: &Bytes<'_>) -> io::Result<End> {
    let mut reader = Forward::new(bytes, 2);
    let (mut framed, mut scanned) = (false, false);
    while let Some(marker) = next_marker(&mut reader)? {
        match marker {
            EOI if scanned => return Ok(End::Here),
            EOI => return End::missing("it ends before its picture begins"),
            // Reserved and restart marks have no segment: noise, or parts of a scan.
            0x01..=0xbf | 0xd0..=SOI => {}
            _ => {
                let Some(length) = reader.be16()? else { break };
                // Decoders take a length that is too short for itself as nothing.
                reader.skip(u64::from(length).saturating_sub(2));
                framed |= matches!(marker, 0xc0..=0xcf | 0xf7) && !matches!(marker, 0xc4 | 0xc8 | 0xcc);
                scanned |= framed && marker == SOS;
            }
        }
    }
    End::missing(if scanned { "its end mark (EOI) is missing" } else { "it ends before its picture begins" })
}

/// The byte after the next `FF`. Whatever comes before it is skipped, between segments as well: decoders do the same
/// (T.81, B.1.1.2 allows fill bytes; junk is common).
fn next_marker(reader: &mut Forward<'_>) -> io::Result<Option<u8>> {
    while let Some(byte) = reader.next()? {
        if byte != 0xff {
            continue;
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
