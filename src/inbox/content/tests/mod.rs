//! Whole, cut off at every byte, preallocated, disguised, and plain noise.

use std::{
    io::{Seek, SeekFrom, Write},
    os::unix::fs::FileExt,
};

use proptest::prelude::*;

use self::tiff::tiffs;
use super::*;

mod cda;
#[path = "../../../../tests/support/files.rs"]
#[allow(dead_code, reason = "the tests over the real daemon use more of it")]
mod files;
mod jpeg;
mod listed;
mod pdf;
mod text;
mod tiff;

const PDF: &[u8] = include_bytes!("../../../../assets/samples/referral.pdf");
const JPEG: &[u8] = include_bytes!("../../../../assets/samples/wound-photo.jpg");
const TIFF: &[u8] = include_bytes!("../../../../assets/samples/xray.tif");
const PNG: &[u8] = include_bytes!("../../../../assets/samples/insurance-card.png");
const TEXT: &[u8] = include_bytes!("../../../../assets/samples/notes.txt");
const RTF: &[u8] = include_bytes!("../../../../assets/samples/summary.rtf");
const CDA: &[u8] = b"\xef\xbb\xbf<?xml version=\"1.0\"?>\n<?xml-stylesheet href=\"CDA.xsl\"?>\n<!-- invented -->\n\
    <n:ClinicalDocument xmlns:n=\"urn:hl7-org:v3\"><!-- </n:ClinicalDocument > --><n:title>\
    <![CDATA[</n:ClinicalDocument >]]></n:title></n:ClinicalDocument >\n";

fn file(content: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(content).unwrap();
    file
}

fn look(content: &[u8], name: &str) -> Inspection {
    inspect(&file(content), content.len() as u64, OsStr::new(name), &FileTypes::new()).unwrap()
}

fn is_cut_off(inspection: &Inspection) -> bool {
    matches!(inspection, Inspection::CutOff { .. })
}

fn is_whole(inspection: &Inspection) -> bool {
    matches!(inspection, Inspection::Whole(_))
}

/// Name, content, and how many bytes of it are needed: what follows those is white space, padding or a comment.
fn whole_documents() -> Vec<(&'static str, Vec<u8>, usize)> {
    let through = |content: &[u8], mark: &[u8]| bytes::find_last(content, mark).unwrap() + mark.len();
    let mut documents = vec![
        ("a.pdf", PDF.to_vec(), through(PDF, b"%%EOF")),
        ("a.jpg", JPEG.to_vec(), JPEG.len()),
        ("a.png", PNG.to_vec(), PNG.len()),
        // Its writer pads it with two bytes.
        ("a.tif", TIFF.to_vec(), TIFF.len() - 2),
        ("a.rtf", RTF.to_vec(), through(RTF, b"}")),
        ("a.xml", CDA.to_vec(), through(CDA, b"Document >")),
        ("b.jpeg", with_preview(), with_preview().len()),
    ];
    documents.extend(tiffs().into_iter().map(|content| ("b.TIFF", content.clone(), content.len())));
    documents
}

/// A JPEG whose EXIF data holds a JPEG, end mark and all.
fn with_preview() -> Vec<u8> {
    let length = (JPEG.len() + 2 + 6) as u16;
    [b"\xff\xd8\xff\xe1", &length.to_be_bytes()[..], b"Exif\0\0", JPEG, &JPEG[2..]].concat()
}

#[test]
fn the_samples_are_whole() {
    for (content, name, kind) in [
        (PDF, "Scan 1.PDF", FileKind::Pdf),
        (JPEG, "x.jpeg", FileKind::Jpeg),
        (JPEG, "x.JPG", FileKind::Jpeg),
        (TIFF, "x.tif", FileKind::Tiff),
        (TIFF, "x.tiff", FileKind::Tiff),
        (PNG, "x.png", FileKind::Png),
        (RTF, "x.rtf", FileKind::Rtf),
        (TEXT, "x.txt", FileKind::Text),
        (CDA, "x.xml", FileKind::Cda),
    ] {
        assert_eq!(look(content, name), Inspection::Whole(kind), "{name}");
        assert!(content.len() < 20_000);
    }
}

#[test]
fn no_prefix_that_lacks_the_end_is_whole() {
    for (name, content, needed) in whole_documents() {
        let file = file(&content);
        for length in 0..=content.len() {
            let inspection = inspect(&file, length as u64, OsStr::new(name), &FileTypes::new()).unwrap();
            match length {
                0 => assert_eq!(inspection, Inspection::Empty),
                _ if length < needed => assert!(is_cut_off(&inspection), "{name} {length}: {inspection:?}"),
                _ => assert_eq!(
                    inspection,
                    Inspection::Whole(FileKind::of(OsStr::new(name), &FileTypes::new()).unwrap()),
                    "{name} {length}"
                ),
            }
        }
    }
}

#[test]
fn no_preallocated_prefix_is_whole() {
    for (name, content, needed) in whole_documents() {
        let mut blank = content.clone();
        blank.resize(content.len() + 9000, 0);
        let file = file(&blank);
        for length in (0..=content.len()).rev() {
            // One byte less each time.
            file.write_all_at(&[0], length as u64).unwrap();
            let inspection = inspect(&file, blank.len() as u64, OsStr::new(name), &FileTypes::new()).unwrap();
            // Plain strips may be black at their end.
            let told = length < needed && !name.to_lowercase().contains(".tif");
            assert!(!told || is_cut_off(&inspection), "{name} {length}: {inspection:?}");
            let behind = length >= needed && !name.ends_with("xml");
            assert!(!behind || is_whole(&inspection), "{name} {length}: {inspection:?}");
        }
    }
}

#[test]
fn no_prefix_within_its_final_size_is_whole() {
    for (name, content, needed) in whole_documents() {
        // The last bytes of a TIFF's strips or tables may be anything.
        if name.to_lowercase().ends_with("tiff") || name.ends_with("tif") {
            continue;
        }
        let file = file(&content);
        for length in (0..content.len()).rev() {
            file.write_all_at(&[0], length as u64).unwrap();
            let inspection = inspect(&file, content.len() as u64, OsStr::new(name), &FileTypes::new()).unwrap();
            assert!(length >= needed || is_cut_off(&inspection), "{name} {length}: {inspection:?}");
        }
    }
}

#[test]
fn rtf_braces_are_counted_as_rtf_counts_them() {
    for content in [&b"{\\rtf1 \\} }"[..], b"{\\rtf1 {\\b x} \\\\}", b"{\\rtf1 \\bin3 }}}}", b"{\\rtf1\\bin2}}}\r\n\0"]
    {
        assert_eq!(look(content, "a.rtf"), Inspection::Whole(FileKind::Rtf), "{}", content.escape_ascii());
    }
    for content in
        [&b"{\\rtf1 \\}"[..], b"{\\rtf1 {\\b x}", b"{\\rtf1 \\bin3 }}}", b"{\\rtf1 \\bin99999999999999999999999 }"]
    {
        assert!(is_cut_off(&look(content, "a.rtf")), "{}", content.escape_ascii());
    }
}

#[test]
fn a_name_that_lies() {
    let zip = b"PK\x03\x04\x14\0\0\0\x08\0";
    for (content, name, found) in [
        (PDF, "a.jpg", "a PDF document"),
        (JPEG, "a.pdf", "a JPEG picture"),
        (PNG, "a.tif", "a PNG picture"),
        (TIFF, "a.png", "a TIFF picture"),
        (TEXT, "a.pdf", "plain text"),
        (zip, "a.pdf", "a ZIP archive"),
        (b"MZ\x90\0\x03\0\0\0", "scan.exe.pdf", "a Windows program"),
        (b"<html><body>", "a.pdf", "a web page"),
        (CDA, "a.pdf", "a clinical document (CDA)"),
        (b"\x01\x02\x03\x04\x05\x06", "a.jpg", "something unknown"),
    ] {
        let expected = FileKind::of(OsStr::new(name), &FileTypes::new()).unwrap();
        assert_eq!(look(content, name), Inspection::Foreign { expected, found: found.to_owned() }, "{name}");
    }
    let disguised = [zip, PDF].concat();
    assert!(matches!(look(&disguised, "a.pdf"), Inspection::Foreign { .. }), "a ZIP with a PDF in its first kilobyte");
}

#[test]
fn what_is_known_and_not_sent_is_named() {
    let zip = b"PK\x03\x04\x14\0\0\0\x08\0";
    for (content, name, found) in [
        (&b""[..], "a.EXE", "a Windows program"),
        (PDF, "a.js", "a script"),
        (zip, "a.docm", "an Office document with macros"),
        (zip, "a.docx", "a Word document (docx)"),
        (b"x", "a.heic", "an iPhone picture (HEIC)"),
        (zip, "noname", "a ZIP archive"),
        (b"MZ\x90\0\x03\0\0\0", "scan", "a Windows program"),
        (b"#!/bin/sh\n", "scan", "a script"),
    ] {
        assert_eq!(look(content, name), Inspection::Forbidden { found: found.to_owned() }, "{name}");
    }
    for (content, name) in [(PDF, "scan"), (PDF, ".pdf"), (TEXT, "a.xyz"), (PDF, "a.pdf~"), (b"BMI 24", "notes")] {
        assert_eq!(look(content, name), Inspection::Unknown, "{name}");
    }
    for name in ["a.pdf", "noname", "a.txt"] {
        assert_eq!(look(b"", name), Inspection::Empty);
    }
}

#[test]
fn the_cursor_stays_and_a_file_that_shrank_is_an_error() {
    let mut file = file(PDF);
    file.seek(SeekFrom::Start(7)).unwrap();
    inspect(&file, PDF.len() as u64, OsStr::new("a.pdf"), &FileTypes::new()).unwrap();
    assert_eq!(file.stream_position().unwrap(), 7);
    let error = inspect(&file, PDF.len() as u64 + 1, OsStr::new("a.pdf"), &FileTypes::new()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
}

const NAMES: [&str; 8] = ["a.pdf", "a.tif", "a.jpg", "a.png", "a.rtf", "a.txt", "a.xml", "a"];

proptest! {
    #[test]
    fn no_bytes_make_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..3000), mark in 0..8usize) {
        let marks: [&[u8]; 8] =
            [b"", b"%PDF-", b"II*\0\x08\0\0\0", b"MM\0+\0\x08\0\0", b"\xff\xd8\xff", png::MARK, b"{\\rtf", b"<ClinicalDocument "];
        let file = file(&[marks[mark], &bytes].concat());
        let size = (marks[mark].len() + bytes.len()) as u64;
        for name in NAMES {
            let inspection = inspect(&file, size, OsStr::new(name), &FileTypes::new()).unwrap();
            prop_assert_eq!(inspection == Inspection::Empty, size == 0);
        }
    }

    #[test]
    fn no_damage_makes_a_panic(
        which in 0..11usize,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
        cut in any::<prop::sample::Index>(),
    ) {
        let (name, mut content, _) = whole_documents().swap_remove(which);
        let length = content.len();
        for (at, byte) in damage {
            content[at.index(length)] = byte;
        }
        let file = file(&content);
        for size in [length, cut.index(length)] {
            inspect(&file, size as u64, OsStr::new(name), &FileTypes::new()).unwrap();
        }
    }
}
