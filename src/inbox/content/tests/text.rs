//! Plain text in every encoding that clinics' machines write, and its conversion.

use std::io::Read;

use super::*;

#[test]
fn text_is_utf8_and_nothing_else() {
    for text in
        ["BMI 24.1, well", "MZ twins", "MSH|^~\\&|A", "\u{feff}\u{fc}", "x", "<3", "a <b> c", "-----BEGIN CERTIFICATE"]
    {
        assert_eq!(look(text.as_bytes(), "a.txt"), Inspection::Whole(FileKind::Text), "{text}");
    }
    // A character across the end of the first chunk, and of the second.
    for spaces in [CHUNK - 1, CHUNK - 2, 2 * CHUNK - 3] {
        let text = format!("{}\u{20ac}uro{}", " ".repeat(spaces), "\u{fc}".repeat(CHUNK));
        assert_eq!(look(text.as_bytes(), "a.txt"), Inspection::Whole(FileKind::Text));
        assert!(is_cut_off(&look(&text.as_bytes()[..text.len() - 1], "a.txt")));
    }
    assert!(is_cut_off(&look(b"notes\0\0\0", "a.txt")));
    for (content, words) in [
        (&b"a\0b"[..], "something that is not plain text"),
        (b"\x01\x02\xff", "something that is not plain text"),
        (b"<!DOCTYPE html><p>x", "a web page"),
        (b" <svg xmlns='x'></svg>", "an SVG picture"),
        (b"#!/bin/sh\nrm", "a script"),
        (RTF, "an RTF document"),
        (PDF, "a PDF document"),
    ] {
        let expected = Inspection::Foreign { expected: FileKind::Text, found: words.to_owned() };
        assert_eq!(look(content, "a.txt"), expected, "{}", content.escape_ascii());
    }
}

const UTF16: [TextEncoding; 4] = [
    TextEncoding::Utf16 { little: true, marked: true },
    TextEncoding::Utf16 { little: false, marked: true },
    TextEncoding::Utf16 { little: true, marked: false },
    TextEncoding::Utf16 { little: false, marked: false },
];

fn utf16(text: &str, little: bool) -> Vec<u8> {
    text.encode_utf16().flat_map(|unit| if little { unit.to_le_bytes() } else { unit.to_be_bytes() }).collect()
}

#[test]
fn windows_text_is_told_apart() {
    let marked = |text: &str, little| utf16(&format!("\u{feff}{text}"), little);
    let note = "Befund unauff\u{e4}llig \u{2013} Kontrolle in 2 Wochen\r\n";
    for (content, encoding) in [
        (marked(note, true), UTF16[0]),
        (marked(note, false), UTF16[1]),
        (marked("x", true), UTF16[0]),
        (marked("\u{4e2d}\u{6587}", true), UTF16[0]),
        (marked("\u{100}", true), UTF16[0]),
        (utf16(note, true), UTF16[2]),
        (utf16(note, false), UTF16[3]),
        (b"Befund unauff\xe4llig \x96 Kontrolle in 2 Wochen\r\n".to_vec(), TextEncoding::Windows1252),
        (b"Fran\xe7ois B\xe9langer, \x93stable\x94, doesn\x92t smoke \x80 20".to_vec(), TextEncoding::Windows1252),
        (b"M\xfcller".to_vec(), TextEncoding::Windows1252),
        (b"Caf\xe9".to_vec(), TextEncoding::Windows1252),
        (b"Befund unauff\x84llig, M\x81ller".to_vec(), TextEncoding::Dos),
        (b"unauff\x84llig".to_vec(), TextEncoding::Dos),
        (b"\xc8\xe2\xe0\xed\xee\xe2 \xc8\xe2\xe0\xed".to_vec(), TextEncoding::Legacy),
    ] {
        assert_eq!(look(&content, "a.txt"), Inspection::OtherText(encoding), "{}", content.escape_ascii());
    }
    let mut blank = marked(note, true);
    blank.resize(200, 0);
    assert!(is_cut_off(&look(&blank, "a.txt")));
    for encoding in UTF16 {
        assert!(encoding.words().contains("UTF-16"));
    }
    assert!(TextEncoding::Windows1252.words().contains("Windows-1252"));
}

#[test]
fn converted_text_says_the_same() {
    let convert = |content: &[u8], encoding| {
        let (mut converted, size) = to_utf8(&file(content), content.len() as u64, encoding).unwrap()?;
        converted.seek(SeekFrom::Start(0)).unwrap();
        let mut text = String::new();
        converted.read_to_string(&mut text).unwrap();
        assert_eq!(text.len() as u64, size);
        Some(text)
    };
    let long = "M\u{fc}ller \u{1f600} \u{20ac}\r\n".repeat(20_000);
    for little in [true, false] {
        let content = utf16(&format!("\u{feff}{long}"), little);
        assert!(content.len() > 3 * CHUNK);
        let encoding = TextEncoding::Utf16 { little, marked: true };
        assert_eq!(convert(&content, encoding).as_deref(), Some(long.as_str()));
        assert_eq!(convert(&content[..content.len() - 1], encoding), None, "half a character");
        let lone = [content, utf16("\u{feff}", little), vec![0xd8, 0xd8, 0x20, 0x20]].concat();
        assert_eq!(convert(&lone, encoding), None, "half a pair");
    }
    let windows = b"M\xfcller \x80 \x96 \xdf";
    assert_eq!(convert(windows, TextEncoding::Windows1252).as_deref(), Some("M\u{fc}ller \u{20ac} \u{2013} \u{df}"));
    for guess in [UTF16[2], UTF16[3], TextEncoding::Dos, TextEncoding::Legacy] {
        assert_eq!(convert(b"abcd", guess), None, "nobody guesses");
    }
}
