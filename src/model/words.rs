//! How names are shown to people: nothing in them turns text around, hides, breaks a line or steers a terminal.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

/// True for control characters, line ends, direction marks and characters that nobody sees: they make a name look like
/// another one, or a terminal do what the name says.
pub fn is_unsafe(c: char) -> bool {
    let ranges = [
        '\u{ad}'..='\u{ad}',
        '\u{61c}'..='\u{61c}',
        '\u{115f}'..='\u{1160}',
        '\u{180b}'..='\u{180e}',
        '\u{200b}'..='\u{200f}',
        '\u{2028}'..='\u{202e}',
        '\u{2060}'..='\u{206f}',
        '\u{3164}'..='\u{3164}',
        '\u{feff}'..='\u{feff}',
        '\u{fff9}'..='\u{fffb}',
        '\u{e0000}'..='\u{e007f}',
    ];
    c.is_control() || ranges.iter().any(|range| range.contains(&c))
}

/// A name for a terminal, a note or a page: one line in which every unsafe character is written out (`\n`, `\u{202e}`), and
/// every byte that is not UTF-8 as `\xff`.
pub fn display_name(name: impl AsRef<OsStr>) -> String {
    let mut shown = String::new();
    for chunk in name.as_ref().as_bytes().utf8_chunks() {
        for c in chunk.valid().chars() {
            if is_unsafe(c) { shown.extend(c.escape_default()) } else { shown.push(c) }
        }
        shown.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
    }
    shown
}

/// A name or text for a title: unsafe characters are left out, or become a space where they separated words.
pub fn title(text: &str) -> String {
    let separates = |c: char| matches!(c, '\n' | '\r' | '\t' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}');
    let spaced: String = text.chars().map(|c| if separates(c) { ' ' } else { c }).collect();
    spaced.chars().filter(|c| !is_unsafe(*c)).collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_name_reaches_a_terminal_or_a_title_unseen() {
        for (name, shown, titled) in [
            ("scan.pdf", "scan.pdf", "scan.pdf"),
            ("scan\u{202e}fdp.exe.pdf", "scan\\u{202e}fdp.exe.pdf", "scanfdp.exe.pdf"),
            ("line\nend.pdf", "line\\nend.pdf", "line end.pdf"),
            ("a\u{200b}b\u{feff}.pdf", "a\\u{200b}b\\u{feff}.pdf", "ab.pdf"),
            ("\u{1b}[31mred.pdf", "\\u{1b}[31mred.pdf", "[31mred.pdf"),
            ("50% \"off\" 'x'.pdf", "50% \"off\" 'x'.pdf", "50% \"off\" 'x'.pdf"),
            ("Müller 山田 \u{1f600}.pdf", "Müller 山田 \u{1f600}.pdf", "Müller 山田 \u{1f600}.pdf"),
            ("a\u{2028}b", "a\\u{2028}b", "a b"),
        ] {
            assert_eq!((display_name(name).as_str(), title(name).as_str()), (shown, titled));
        }
        assert_eq!(display_name(OsStr::from_bytes(b"b\xff\xfe.pdf")), "b\\xff\\xfe.pdf");
        let long = "ü".repeat(127);
        assert_eq!((display_name(&long), title(&long)), (long.clone(), long));
    }
}
