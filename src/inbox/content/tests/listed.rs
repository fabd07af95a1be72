//! Kinds that `[file_types]` lists.

use super::*;

const DOCX: &str = "application/vnd.openxmlformats-officedocument.wordprocessingml.document";

fn listed(content: &[u8], name: &str) -> Inspection {
    let types = [
        ("docx", DOCX),
        ("heic", "image/heic"),
        ("dcm", "application/dicom"),
        ("log", "text/plain"),
        ("jfi", "image/jpeg"),
        ("hl7", "application/hl7-v2"),
        ("gif", "image/gif"),
        ("exe", "application/x-anything"),
    ];
    let types = types.map(|(extension, mime)| (extension.to_owned(), mime.to_owned())).into();
    inspect(&file(content), content.len() as u64, OsStr::new(name), &types).unwrap()
}

fn docx() -> Vec<u8> {
    let entry = |name: &str| {
        [b"PK\x03\x04\x14\0\0\0\0\0", &[0; 16][..], &[name.len() as u8, 0, 0, 0], name.as_bytes()].concat()
    };
    let end = b"PK\x05\x06\0\0\0\0\x03\0\x03\0\x10\x01\0\0\x10\x02\0\0\0\0".to_vec();
    [entry("[Content_Types].xml"), entry("_rels/.rels"), entry("word/document.xml"), vec![7; 3000], end].concat()
}

fn heic() -> Vec<u8> {
    let part = |kind: &[u8], body: &[u8]| [&(body.len() as u32 + 8).to_be_bytes(), kind, body].concat();
    [part(b"ftyp", b"heic\0\0\0\0mif1heic"), part(b"meta", &[1; 50]), part(b"mdat", &[2; 500])].concat()
}

fn dicom() -> Vec<u8> {
    [&[0; 128][..], b"DICM", &[5; 300]].concat()
}

#[test]
fn listed_kinds_are_taken_with_their_mime_type() {
    for (content, name, mime) in [
        (docx(), "a.docx", DOCX),
        (heic(), "a.HEIC", "image/heic"),
        (dicom(), "a.dcm", "application/dicom"),
        (b"MSH|^~\\&|A".to_vec(), "a.hl7", "application/hl7-v2"),
        (TEXT.to_vec(), "a.log", "text/plain"),
        (JPEG.to_vec(), "a.jfi", "image/jpeg"),
        (b"GIF89a\x01".to_vec(), "a.gif", "image/gif"),
    ] {
        let Inspection::Whole(kind) = listed(&content, name) else { panic!("{name}: {:?}", listed(&content, name)) };
        assert_eq!(kind.mime(), mime, "{name}");
        assert!(!is_whole(&look(&content, name)), "{name} is not built in");
    }
}

#[test]
fn listed_kinds_are_checked_where_their_bytes_are_known() {
    for (content, name, words) in [
        (PNG.to_vec(), "a.docx", "PNG"),
        (PDF.to_vec(), "a.dcm", "PDF"),
        (TEXT.to_vec(), "a.heic", "plain text"),
        (docx(), "a.gif", "Word document"),
        (b"MZ\x90\0\x03\0\0\0".to_vec(), "a.hl7", "program"),
        (TEXT.to_vec(), "a.docx", "plain text"),
        (PNG.to_vec(), "a.jfi", "PNG"),
    ] {
        let Inspection::Foreign { found, .. } = listed(&content, name) else {
            panic!("{name}: {:?}", listed(&content, name))
        };
        assert!(found.contains(words), "{name}: {found}");
    }
    assert!(matches!(listed(b"anything", "a.exe"), Inspection::Forbidden { .. }), "programs never");
}

#[test]
fn listed_kinds_with_an_end_wait_for_it() {
    for (content, name) in [(docx(), "a.docx"), (heic(), "a.heic")] {
        for length in (150..content.len()).step_by(7).chain([content.len() - 1]) {
            assert!(is_cut_off(&listed(&content[..length], name)), "{name} {length}");
            let mut blank = content.clone();
            blank[length..].fill(0);
            let told = content.len() - length >= 64 || (name == "a.docx" && content.len() - length >= 14);
            assert!(!told || is_cut_off(&listed(&blank, name)), "{name} {length} within its full size");
        }
    }
    let blank = [dicom(), vec![0; 50]].concat();
    assert!(matches!(listed(&blank, "a.dcm"), Inspection::Doubtful { .. }));
    assert_eq!(listed(b"", "a.docx"), Inspection::Empty);
}
