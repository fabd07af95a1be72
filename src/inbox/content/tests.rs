//! Whole, cut off at every byte, preallocated, disguised, and plain noise.

use std::{
    io::{Seek, SeekFrom, Write},
    os::unix::fs::FileExt,
};

use proptest::prelude::*;

use super::*;

const PDF: &[u8] = include_bytes!("../../../assets/samples/referral.pdf");
const JPEG: &[u8] = include_bytes!("../../../assets/samples/wound-photo.jpg");
const TIFF: &[u8] = include_bytes!("../../../assets/samples/xray.tif");
const PNG: &[u8] = include_bytes!("../../../assets/samples/insurance-card.png");
const TEXT: &[u8] = include_bytes!("../../../assets/samples/notes.txt");
const RTF: &[u8] = include_bytes!("../../../assets/samples/summary.rtf");
const CDA: &[u8] = b"\xef\xbb\xbf<?xml version=\"1.0\"?>\n<?xml-stylesheet href=\"CDA.xsl\"?>\n<!-- invented -->\n\
    <n:ClinicalDocument xmlns:n=\"urn:hl7-org:v3\"><n:title>Summary</n:title></n:ClinicalDocument >\n<!-- end -->\n";

fn file(content: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(content).unwrap();
    file
}

fn look(content: &[u8], name: &str) -> Inspection {
    inspect(&file(content), content.len() as u64, OsStr::new(name)).unwrap()
}

fn is_cut_off(inspection: &Inspection) -> bool {
    matches!(inspection, Inspection::CutOff { .. })
}

/// The low bytes of a number in the order of the file.
type Order = fn(u64, usize) -> Vec<u8>;

fn little(number: u64, width: usize) -> Vec<u8> {
    number.to_le_bytes()[..width].to_vec()
}

fn big(number: u64, width: usize) -> Vec<u8> {
    number.to_be_bytes()[8 - width..].to_vec()
}

/// Header, one page with `entries` of (tag, type, count, value), then `data`.
fn tiff(order: Order, bigtiff: bool, entries: &[(u64, u64, u64, u64)], next: u64, data: &[u8]) -> Vec<u8> {
    let mark = if order(1, 2) == [1, 0] { b"II" } else { b"MM" };
    let (count_width, word) = if bigtiff { (8, 8) } else { (2, 4) };
    let mut out = mark.to_vec();
    out.extend(order(if bigtiff { 43 } else { 42 }, 2));
    if bigtiff {
        out.extend([order(8, 2), order(0, 2)].concat());
    }
    out.extend(order(if bigtiff { 16 } else { 8 }, word));
    out.extend(order(entries.len() as u64, count_width));
    for (tag, kind, count, value) in entries {
        let width = if *kind == 3 && *count == 1 { 2 } else { word };
        let mut value = order(*value, width);
        value.resize(word, 0);
        out.extend([order(*tag, 2), order(*kind, 2), order(*count, word), value].concat());
    }
    out.extend(order(next, word));
    out.extend(data);
    out
}

/// Two strips, whose offsets and lengths lie outside of the page's entries; `(file, where the strips are)`.
fn two_strips(order: Order, bigtiff: bool, compression: u64, strips: &[u8]) -> (Vec<u8>, usize) {
    let start = if bigtiff { 16 + 8 + 3 * 20 + 8 } else { 8 + 2 + 3 * 12 + 4 };
    let (kind, width) = if bigtiff { (16, 8) } else { (4, 4) };
    let (at, half) = (start + 4 * width, strips.len() / 2);
    let tables = [at, at + half, half, strips.len() - half].map(|number| order(number as u64, width)).concat();
    let entries = [(259, 3, 1, compression), (273, kind, 2, start as u64), (279, kind, 2, (start + 2 * width) as u64)];
    (tiff(order, bigtiff, &entries, 0, &[&tables, strips].concat()), at)
}

fn tiffs() -> Vec<Vec<u8>> {
    let shapes: [(Order, bool); 4] = [(little, false), (big, false), (little, true), (big, true)];
    shapes.into_iter().map(|(order, bigtiff)| two_strips(order, bigtiff, 1, &[7; 300]).0).collect()
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
        (PDF, "Scan 1.PDF", Kind::Pdf),
        (JPEG, "x.jpeg", Kind::Jpeg),
        (JPEG, "x.JPG", Kind::Jpeg),
        (TIFF, "x.tif", Kind::Tiff),
        (TIFF, "x.tiff", Kind::Tiff),
        (PNG, "x.png", Kind::Png),
        (RTF, "x.rtf", Kind::Rtf),
        (TEXT, "x.txt", Kind::Text),
        (CDA, "x.xml", Kind::Cda),
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
            let inspection = inspect(&file, length as u64, OsStr::new(name)).unwrap();
            match length {
                0 => assert_eq!(inspection, Inspection::Empty),
                _ if length < needed => assert!(is_cut_off(&inspection), "{name} {length}: {inspection:?}"),
                _ => assert_eq!(inspection, Inspection::Whole(Kind::of(OsStr::new(name)).unwrap()), "{name} {length}"),
            }
        }
    }
}

#[test]
fn no_preallocated_prefix_is_whole() {
    for (name, content, _) in whole_documents() {
        let mut blank = content.clone();
        blank.resize(content.len() + TRAILING as usize + 1, 0);
        let file = file(&blank);
        for length in (0..=content.len()).rev() {
            // One byte less each time.
            file.write_all_at(&[0], length as u64).unwrap();
            let inspection = inspect(&file, blank.len() as u64, OsStr::new(name)).unwrap();
            assert!(is_cut_off(&inspection), "{name} {length}: {inspection:?}");
        }
    }
}

#[test]
fn a_blank_tail_of_many_chunks_is_seen() {
    for (name, mut content, _) in whole_documents() {
        content.resize(3 * CHUNK + 1, 0);
        assert!(is_cut_off(&look(&content, name)), "{name}");
    }
    assert!(is_cut_off(&look(&[0; 2 * CHUNK], "a.pdf")));
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
            let inspection = inspect(&file, content.len() as u64, OsStr::new(name)).unwrap();
            assert!(length >= needed || is_cut_off(&inspection), "{name} {length}: {inspection:?}");
        }
    }
}

#[test]
fn what_scanners_put_around_a_document_is_tolerated() {
    let junk = b"\r\n\x1b%-12345X@PJL EOJ\r\n".repeat(150);
    assert_eq!(look(&[PDF, &junk].concat(), "a.pdf"), Inspection::Whole(Kind::Pdf));
    assert_eq!(look(&[&[b' '; 1024], PDF].concat(), "a.pdf"), Inspection::Whole(Kind::Pdf));
    assert!(matches!(look(&[&[b' '; 1025], PDF].concat(), "a.pdf"), Inspection::Foreign { .. }));
    assert!(is_cut_off(&look(&[PDF, &[b' '; 9000]].concat(), "a.pdf")));
    for (content, name, kind) in [(JPEG, "a.jpg", Kind::Jpeg), (PNG, "a.png", Kind::Png), (RTF, "a.rtf", Kind::Rtf)] {
        for junk in [&junk[..], &[0; 4096]] {
            assert_eq!(look(&[content, junk].concat(), name), Inspection::Whole(kind), "{name}");
        }
        assert!(is_cut_off(&look(&[content, &b"junk".repeat(5000)].concat(), name)), "{name}");
    }
}

#[test]
fn a_changed_pdf_that_lacks_its_last_part() {
    for rest in
        [&b"\n9"[..], b"\n9 0 obj\n<< >>", b"\nxref\n0 1", b"\r\n%x\n9 0 obj <<>> stream", b"\n%x\nstartxref\n9"]
    {
        assert!(is_cut_off(&look(&[PDF, rest].concat(), "a.pdf")), "{}", rest.escape_ascii());
    }
    let again = [PDF, b"\n9 0 obj\n<< >>\nendobj\nstartxref\n1573\n%%EOF\n"].concat();
    assert_eq!(look(&again, "a.pdf"), Inspection::Whole(Kind::Pdf));
    assert!(is_cut_off(&look(b"%PDF-1.4\nstartxref\n4711\n%%EOF\n", "a.pdf")));
}

#[test]
fn a_pdf_for_the_web_knows_its_length() {
    let linearized =
        |length: usize| format!("%PDF-1.4\n1 0 obj\n<< /Linearized 1 /L {length:3} /H [1 2] >>\nstartxref\n0\n%%EOF\n");
    let length = linearized(0).len();
    assert_eq!(look(linearized(length).as_bytes(), "a.pdf"), Inspection::Whole(Kind::Pdf));
    assert!(is_cut_off(&look(linearized(length + 1).as_bytes(), "a.pdf")));
    let most = format!("\n%PDF-1.4\n<< /Linearized 1 /L {} >>\nstartxref\n0\n%%EOF\n", u64::MAX);
    assert!(is_cut_off(&look(most.as_bytes(), "a.pdf")), "a job's first line before it and all");
}

#[test]
fn a_phones_picture_holds_several() {
    let two = [JPEG, &[0; 100], JPEG].concat();
    assert_eq!(look(&two, "a.jpg"), Inspection::Whole(Kind::Jpeg));
    assert!(is_cut_off(&look(&two[..two.len() - 1], "a.jpg")));
    let film = [JPEG, b"\0\0\0\x18ftypmp42", &b"film".repeat(5000)].concat();
    assert_eq!(look(&film, "a.jpg"), Inspection::Whole(Kind::Jpeg));
}

#[test]
fn a_jpeg_without_a_picture_is_cut_off() {
    for content in
        [&b"\xff\xd8\xff\xd9"[..], b"\xff\xd8\xff\xe0\0\x01\xff\xd9", b"\xff\xd8\xff\xe0\0\x04ab\0\0\xff\xd9"]
    {
        assert!(is_cut_off(&look(content, "a.jpg")), "{}", content.escape_ascii());
    }
}

#[test]
fn a_tiff_that_makes_no_sense_is_cut_off_and_soon() {
    let circle = tiff(little, false, &[(259, 3, 1, 1)], 8, &[]);
    let many = tiff(little, false, &[(273, 4, 0xffff_ffff, 8)], 0, &[]);
    let huge = tiff(little, true, &[(273, 16, u64::MAX / 4, 8)], 0, &[]);
    let beyond = tiff(big, false, &[(273, 4, 1, 8), (279, 4, 1, 4711)], 0, &[]);
    let far = tiff(big, true, &[(273, 16, 1, u64::MAX), (279, 16, 1, u64::MAX)], 0, &[]);
    let uneven = tiff(big, false, &[(273, 4, 1, 8), (279, 3, 2, 0)], 0, &[]);
    let next = tiff(big, false, &[(259, 3, 1, 1)], 4711, &[]);
    let none = tiff(big, false, &[], 0, &[]);
    for (index, content) in [circle, many, huge, beyond, far, uneven, next, none].iter().enumerate() {
        assert!(is_cut_off(&look(content, "a.tif")), "{index}");
    }
    // A million strips on each of many pages, all in one table.
    let mut content = vec![0; 4_000_000];
    let pages = 3000_u64;
    for page in 0..pages {
        let at = 8 + page * 18;
        let next = if page + 1 == pages { 0 } else { at + 18 };
        let bytes =
            [little(1, 2), little(273, 2), little(4, 2), little(990_000, 4), little(20_000, 4), little(next, 4)]
                .concat();
        content[at as usize..at as usize + 18].copy_from_slice(&bytes);
    }
    content[..8].copy_from_slice(b"II*\0\x08\0\0\0");
    assert!(is_cut_off(&look(&content, "a.tif")));
}

#[test]
fn an_uncompressed_picture_may_end_in_black() {
    let mut strips = vec![0; 40_000];
    strips[..100].fill(9);
    assert_eq!(look(&two_strips(little, false, 1, &strips).0, "a.tif"), Inspection::Whole(Kind::Tiff));
    assert!(is_cut_off(&look(&two_strips(little, false, 5, &strips).0, "a.tif")), "no compression makes 40,000 zeros");
    assert!(is_cut_off(&look(&two_strips(little, false, 1, &[0; 40_000]).0, "a.tif")), "nothing but the header");
    let (mut content, _) = two_strips(little, false, 1, &strips[..200]);
    content.resize(40_000, 0);
    assert!(is_cut_off(&look(&content, "a.tif")), "the strips end long before the zeros do");
}

#[test]
fn rtf_braces_are_counted_as_rtf_counts_them() {
    for content in [&b"{\\rtf1 \\} }"[..], b"{\\rtf1 {\\b x} \\\\}", b"{\\rtf1 \\bin3 }}}}", b"{\\rtf1\\bin2}}}\r\n\0"]
    {
        assert_eq!(look(content, "a.rtf"), Inspection::Whole(Kind::Rtf), "{}", content.escape_ascii());
    }
    for content in
        [&b"{\\rtf1 \\}"[..], b"{\\rtf1 {\\b x}", b"{\\rtf1 \\bin3 }}}", b"{\\rtf1 \\bin99999999999999999999999 }"]
    {
        assert!(is_cut_off(&look(content, "a.rtf")), "{}", content.escape_ascii());
    }
}

#[test]
fn text_is_utf8_and_nothing_else() {
    for text in
        ["BMI 24.1, well", "MZ twins", "MSH|^~\\&|A", "\u{feff}\u{fc}", "x", "<3", "a <b> c", "-----BEGIN CERTIFICATE"]
    {
        assert_eq!(look(text.as_bytes(), "a.txt"), Inspection::Whole(Kind::Text), "{text}");
    }
    // A character across the end of the first chunk, and of the second.
    for spaces in [CHUNK - 1, CHUNK - 2, 2 * CHUNK - 3] {
        let text = format!("{}\u{20ac}uro{}", " ".repeat(spaces), "\u{fc}".repeat(CHUNK));
        assert_eq!(look(text.as_bytes(), "a.txt"), Inspection::Whole(Kind::Text));
        assert!(is_cut_off(&look(&text.as_bytes()[..text.len() - 1], "a.txt")));
    }
    assert!(is_cut_off(&look(b"notes\0\0\0", "a.txt")));
    for (content, words) in [
        (&b"M\xfcller"[..], "something that is not plain UTF-8 text"),
        (b"a\0b", "something that is not plain UTF-8 text"),
        (b"\xff\xfea\0b", "text saved as Unicode (UTF-16), not as UTF-8"),
        (b"<!DOCTYPE html><p>x", "a web page"),
        (b" <svg xmlns='x'></svg>", "an SVG picture"),
        (b"#!/bin/sh\nrm", "a script"),
        (RTF, "an RTF document"),
        (PDF, "a PDF document"),
    ] {
        let expected = Inspection::Foreign { expected: Kind::Text, found: words.to_owned() };
        assert_eq!(look(content, "a.txt"), expected, "{}", content.escape_ascii());
    }
}

#[test]
fn only_a_clinical_document_is_an_xml_that_is_sent() {
    for content in [
        &b"<order/>"[..],
        b"<?xml version='1.0'?><order></order>",
        b"<MyClinicalDocument></MyClinicalDocument>",
        b"<!DOCTYPE ClinicalDocument><ClinicalDocument></ClinicalDocument>",
        b"<?xml version='1.0'?><!-- <ClinicalDocument> --><html></html>",
        b"<svg></svg>",
        b"hello",
        PDF,
    ] {
        assert!(matches!(look(content, "a.xml"), Inspection::Foreign { .. }), "{}", content.escape_ascii());
    }
    for content in [
        &b"<ClinicalDocument><a/>"[..],
        b"<ClinicalDocument></ClinicalDocument",
        b"<ClinicalDocument></n:ClinicalDocument>",
        b"<ClinicalDocument>\0\0</ClinicalDocument>",
        b"<ClinicalDocument></ClinicalDocument><a>",
    ] {
        assert!(is_cut_off(&look(content, "a.xml")), "{}", content.escape_ascii());
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
        let expected = Kind::of(OsStr::new(name)).unwrap();
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
        (zip, "a.docx", "a Word document"),
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
    inspect(&file, PDF.len() as u64, OsStr::new("a.pdf")).unwrap();
    assert_eq!(file.stream_position().unwrap(), 7);
    let error = inspect(&file, PDF.len() as u64 + 1, OsStr::new("a.pdf")).unwrap_err();
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
            let inspection = inspect(&file, size, OsStr::new(name)).unwrap();
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
            inspect(&file, size as u64, OsStr::new(name)).unwrap();
        }
    }
}
