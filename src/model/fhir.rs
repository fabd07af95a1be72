//! What FHIR R4 lets a value be. A message with any other value is refused by receivers, so it is refused before it is sent.

use jiff::civil::Date;

use super::{document::Document, written_time::WrittenTime};

/// FHIR's `code`: words with single spaces between them, and nothing else that is blank.
pub(crate) fn is_code(text: &str) -> bool {
    !text.is_empty() && text.split(' ').all(|word| !word.is_empty() && !word.contains(is_no_letter))
}

/// A string on one line: no control characters, no line or paragraph separators.
pub(crate) fn is_line(text: &str) -> bool {
    !text.contains(|c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}'))
}

/// Blanks of any kind, and what cannot be seen.
fn is_no_letter(c: char) -> bool {
    c.is_whitespace() || c.is_control()
}

/// FHIR's `date` begins with the year 1.
fn is_date(date: Date) -> bool {
    (1..=9999).contains(&date.year())
}

/// FHIR's `instant`: years 1 to 9999 where it was written, and an offset of whole minutes up to 14 hours.
fn is_instant(time: WrittenTime) -> bool {
    let seconds = time.offset_seconds();
    is_date(time.local_date()) && seconds % 60 == 0 && seconds.abs() <= 14 * 3600
}

/// Whether everything that a message says of a document can be said in FHIR.
///
/// # Errors
/// The first thing that cannot, in words that name the statement and not its value.
pub(crate) fn check_document(document: &Document) -> Result<(), String> {
    let metadata = &document.metadata;
    let patient = &document.patient;
    let need = |holds: bool, what: &str, why: &str| if holds { Ok(()) } else { Err(format!("{what} {why}")) };
    let line = |text: &str, what| need(is_line(text), what, "has a line break or an invisible control character in it");
    let code =
        |text: &str, what| need(is_code(text), what, "is not a code: only single, ordinary spaces may be inside of it");
    let number = |text: &str, what| {
        line(text, what)?;
        need(
            !text.contains(|c: char| c.is_whitespace() && c != ' '),
            what,
            "has a special blank in it, such as a no-break space",
        )
    };
    // Control characters of a file's name become blanks in its title; a separator would stay.
    need(!document.file_name.contains(['\u{2028}', '\u{2029}']), "the file's name", "has a line break in it")?;
    for identifier in &patient.identifier {
        number(&identifier.system, "the system of a patient's number")?;
        number(&identifier.value, "a patient's number")?;
        identifier.kind.as_deref().map_or(Ok(()), |kind| code(kind, "the type of a patient's number"))?;
    }
    let author = metadata.author.as_ref();
    let names = [("the patient's name", &patient.family, &patient.given)].into_iter();
    for (what, family, given) in names.chain(author.map(|it| ("the author's name", &it.family, &it.given))) {
        family.iter().chain(given).try_for_each(|name| line(name, what))?;
    }
    need(patient.birth_date.is_none_or(is_date), "the patient's birth date", "is in a year that no calendar has")?;
    metadata.title.as_deref().map_or(Ok(()), |title| line(title, "title"))?;
    // The line ends of a description become blanks.
    let description = metadata.description.as_deref().unwrap_or_default().replace(['\n', '\r', '\t'], " ");
    line(&description, "description")?;
    metadata.visit.as_deref().map_or(Ok(()), |visit| number(visit, "visit"))?;
    need(
        metadata.date.is_none_or(is_instant),
        "date",
        "must be in the years 1 to 9999, with an offset from UTC of whole minutes, at most 14 hours",
    )?;
    number(&metadata.kind.system, "the system of type")?;
    code(&metadata.kind.code, "the code of type")?;
    metadata.kind.display.as_deref().map_or(Ok(()), |display| line(display, "the display of type"))?;
    code(&metadata.category, "category")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::document::{Author, Coding, Content, DocStatus, Identifier, Metadata, Patient, Sha1, Sha256};

    fn document() -> Document {
        Document {
            file_name: "Überweisung 1.pdf".into(),
            patient: Patient {
                identifier: vec![Identifier { system: "urn:x".into(), value: "00 1".into(), kind: Some("MR".into()) }],
                family: Some("O\u{2019}Neill\u{a0}Smith".into()),
                given: vec!["José".into()],
                birth_date: Some(jiff::civil::date(2008, 1, 6)),
                gender: None,
            },
            metadata: Metadata {
                title: Some("A title, \u{1f600}".into()),
                description: Some("Words".into()),
                date: Some("2026-11-20T23:30:00+14:00".parse().unwrap()),
                kind: Coding {
                    system: "http://loinc.org".into(),
                    code: "57133-1".into(),
                    display: Some("Note".into()),
                },
                category: "clinical-note".into(),
                status: DocStatus::Final,
                author: Some(Author { npi: "1234567893".into(), family: None, given: vec!["A".into()] }),
                visit: Some("V 1".into()),
            },
            content: Content {
                sha256: Sha256([7; 32]),
                sha1: Sha1([9; 20]),
                size: 3,
                mime: "application/pdf".into(),
                original_sha256: None,
            },
        }
    }

    #[test]
    fn codes_have_single_spaces() {
        for good in ["a", "57133-1", "a b c", "ä"] {
            assert!(is_code(good), "{good:?}");
        }
        for bad in ["", " ", " a", "a ", "a  b", "a\tb", "a\u{a0}b", "\u{a0}", "a\u{2028}b", "a\u{3000}b", "a\u{0}"] {
            assert!(!is_code(bad), "{bad:?}");
        }
    }

    #[test]
    fn what_fhir_can_say_is_sent_and_nothing_else() {
        assert_eq!(check_document(&document()), Ok(()));
        let mut lines = document();
        lines.metadata.description = Some("two\r\n\tlines".into());
        assert_eq!(check_document(&lines), Ok(()));
        type Change = fn(&mut Document);
        let changes: [(&str, Change); 24] = [
            ("title", |it| it.metadata.title = Some("a\u{2028}b".into())),
            ("title", |it| it.metadata.title = Some("a\u{2029}".into())),
            ("title", |it| it.metadata.title = Some("a\u{85}b".into())),
            ("description", |it| it.metadata.description = Some("a\u{2028}b".into())),
            ("description", |it| it.metadata.description = Some("a\u{1b}[1m".into())),
            ("visit", |it| it.metadata.visit = Some("V\u{a0}1".into())),
            ("file's name", |it| it.file_name = "a\u{2028}.pdf".into()),
            ("patient's name", |it| it.patient.family = Some("a\u{0}".into())),
            ("patient's name", |it| it.patient.given = vec!["a".into(), "b\u{2029}".into()]),
            ("author's name", |it| it.metadata.author.as_mut().unwrap().given = vec!["\u{7}".into()]),
            ("patient's number", |it| it.patient.identifier[0].value = "0\u{a0}1".into()),
            ("system of a patient's", |it| it.patient.identifier[0].system = "urn:\u{2028}".into()),
            ("type of a patient's", |it| it.patient.identifier[0].kind = Some("M  R".into())),
            ("code of type", |it| it.metadata.kind.code = "a  b".into()),
            ("code of type", |it| it.metadata.kind.code = "a\u{a0}b".into()),
            ("system of type", |it| it.metadata.kind.system = "http://a\u{a0}b".into()),
            ("display of type", |it| it.metadata.kind.display = Some("a\u{2028}b".into())),
            ("category", |it| it.metadata.category = "a  b".into()),
            ("birth date", |it| it.patient.birth_date = Some(jiff::civil::date(0, 1, 6))),
            ("birth date", |it| it.patient.birth_date = Some(jiff::civil::date(-1, 1, 6))),
            ("date", |it| it.metadata.date = Some("0000-12-31T23:00:00Z".parse().unwrap())),
            ("date", |it| it.metadata.date = Some("0001-01-01T00:30:00+00:00".parse().unwrap())),
            ("date", |it| it.metadata.date = Some("2026-11-20T09:30:00+14:01".parse().unwrap())),
            ("date", |it| it.metadata.date = Some("2026-11-20T09:30:00-23:00".parse().unwrap())),
        ];
        for (i, (words, change)) in changes.iter().enumerate() {
            let mut document = document();
            change(&mut document);
            match check_document(&document) {
                Err(why) => assert!(why.contains(words), "{i}: {why}"),
                Ok(()) => assert_eq!(i, 21, "{i}: {words}"),
            }
        }
    }
}
