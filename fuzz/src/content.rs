//! Files of the formats that are sent, and whether their end is there.

use std::{ffi::OsStr, fs::File, io::Write};

use chartdrop::inbox::{Inspection, inspect};

const NAMES: [&str; 11] =
    ["a.pdf", "a.tif", "a.jpg", "a.png", "a.rtf", "a.txt", "a.xml", "a.zip", "a.docx", "a.heic", "a.dcm"];

const DOCX: &str = "application/vnd.openxmlformats-officedocument.wordprocessingml.document";

fn look(bytes: &[u8], name: &str) -> Inspection {
    let memory = rustix::fs::memfd_create("scan", rustix::fs::MemfdFlags::CLOEXEC).expect("a file in memory");
    let mut file = File::from(memory);
    file.write_all(bytes).expect("memory");
    let types = [("docx", DOCX), ("heic", "image/heic"), ("dcm", "application/dicom")];
    let types = types.map(|(extension, mime)| (extension.to_owned(), mime.to_owned())).into();
    inspect(&file, bytes.len() as u64, OsStr::new(name), &types).expect("it can be read")
}

/// The first byte chooses the name; what is called whole has at least the mark that its format ends with.
pub fn content(bytes: &[u8]) {
    let Some((choice, bytes)) = bytes.split_first() else { return };
    let name = NAMES[usize::from(*choice) % NAMES.len()];
    let has = |mark: &[u8]| bytes.windows(mark.len()).any(|window| window == mark);
    match look(bytes, name) {
        Inspection::Whole(_) | Inspection::Doubtful { .. } => assert!(match name {
            "a.pdf" => has(b"%PDF-") && has(b"%%EOF"),
            "a.tif" => bytes.len() > 8,
            "a.jpg" => bytes.starts_with(b"\xff\xd8") && has(b"\xff\xd9"),
            "a.png" => has(b"IHDR") && has(b"IEND\xae\x42\x60\x82"),
            "a.rtf" => has(b"}"),
            "a.txt" => str::from_utf8(bytes).is_ok() && !bytes.contains(&0),
            "a.xml" => has(b"ClinicalDocument") || has(b"C\0l\0i\0n\0i\0c\0a\0l\0"),
            "a.docx" => has(b"PK\x05\x06"),
            "a.heic" => has(b"ftyp") && has(b"mdat"),
            "a.dcm" => has(b"DICM"),
            _ => false,
        }),
        Inspection::CutOff { detail: words, .. }
        | Inspection::Foreign { found: words, .. }
        | Inspection::Forbidden { found: words }
        | Inspection::Locked(words) => crate::is_readable(&words),
        Inspection::Empty => assert!(bytes.is_empty()),
        Inspection::OtherText(_) | Inspection::Unknown => {}
    }
}

/// A whole file is made from the bytes, then cut: neither what was copied so far nor that within the file's final size
/// (as Windows and scanners preallocate it) is whole.
pub fn cut(bytes: &[u8]) {
    let [choice, a, b, inside @ ..] = bytes else { return };
    let (name, whole) = match choice % 4 {
        0 => ("a.png", png(inside)),
        1 => ("a.jpg", jpeg(inside)),
        2 => ("a.rtf", rtf(inside)),
        _ => ("a.pdf", pdf(inside)),
    };
    assert!(matches!(look(&whole, name), Inspection::Whole(_)), "{name}: {:?}", look(&whole, name));
    let mut part = whole[..usize::from(u16::from_be_bytes([*a, *b])) % whole.len()].to_vec();
    assert!(!matches!(look(&part, name), Inspection::Whole(_)), "{name}: {} of {}", part.len(), whole.len());
    part.resize(whole.len(), 0);
    assert!(part == whole || !matches!(look(&part, name), Inspection::Whole(_)), "{name} within its final size");
}

/// Pieces of what is left, each with a byte before it that says how long it is.
fn pieces(mut rest: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, tail) = rest.split_first()?;
        let (piece, tail) = tail.split_at(tail.len().min(usize::from(*length)));
        rest = tail;
        Some(piece)
    })
}

fn png(inside: &[u8]) -> Vec<u8> {
    let mut file = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\0\x01\0\0\0\x01\x08\0\0\0\0\x3a\x7e\x9b\x55".to_vec();
    for piece in pieces(inside) {
        file.extend_from_slice(&(piece.len() as u32).to_be_bytes());
        file.extend_from_slice(b"IDAT");
        file.extend_from_slice(piece);
        file.extend_from_slice(b"crc!");
    }
    file.extend_from_slice(b"\0\0\0\0IEND\xae\x42\x60\x82");
    file
}

/// Segments, whose insides may hold anything, then a scan, which may hold no mark.
fn jpeg(inside: &[u8]) -> Vec<u8> {
    let mut file = b"\xff\xd8".to_vec();
    let (segments, scan) = inside.split_at(inside.len() / 2);
    for piece in pieces(segments) {
        file.extend_from_slice(b"\xff\xe1");
        file.extend_from_slice(&(piece.len() as u16 + 2).to_be_bytes());
        file.extend_from_slice(piece);
    }
    file.extend_from_slice(b"\xff\xc0\0\x0b\x08\0\x08\0\x08\x01\x01\x11\0\xff\xda\0\x02");
    for byte in scan {
        file.push(*byte);
        file.extend((*byte == 0xff).then_some(0));
    }
    file.extend_from_slice(b"\xff\xd9");
    file
}

fn rtf(inside: &[u8]) -> Vec<u8> {
    let mut file = b"{\\rtf1 ".to_vec();
    for piece in pieces(inside) {
        match piece.first() {
            Some(first) if first & 1 == 0 => {
                file.extend_from_slice(format!("\\bin{} ", piece.len()).as_bytes());
                file.extend_from_slice(piece);
            }
            _ => {
                file.push(b'{');
                file.extend(piece.iter().map(|byte| if b"{}\\".contains(byte) { b'.' } else { *byte }));
                file.push(b'}');
            }
        }
    }
    file.push(b'}');
    file
}

fn pdf(inside: &[u8]) -> Vec<u8> {
    let mut file = b"%PDF-1.7\n".to_vec();
    // No other end mark, and nothing that states another length.
    file.extend(inside.iter().map(|byte| if b"%/".contains(byte) { b'.' } else { *byte }));
    let table = file.len() + 1;
    file.extend_from_slice(format!("\nxref\n0 0\ntrailer\n<</Size 0>>\nstartxref\n{table}\n%%EOF").as_bytes());
    file
}
