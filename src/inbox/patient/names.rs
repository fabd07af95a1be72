//! Whether two statements can speak of the same person: what both of them say must agree.

use icu_normalizer::DecomposingNormalizerBorrowed;

use crate::model::document::Patient;

/// What the two do not agree on, in words for a sentence; `None` when neither contradicts the other.
pub fn difference(a: &Patient, b: &Patient) -> Option<&'static str> {
    if let (Some(a), Some(b)) = (a.birth_date, b.birth_date)
        && a != b
    {
        return Some("the birth date");
    }
    if let (Some(a), Some(b)) = (&a.family, &b.family)
        && words(a).concat() != words(b).concat()
    {
        return Some("the family name");
    }
    let (a, b) = (words(&a.given.join(" ")), words(&b.given.join(" ")));
    a.iter().zip(&b).any(|(a, b)| !same_given(a, b)).then_some("the given name")
}

/// Whether one of the identifiers is the same in both.
pub fn share_an_identifier(a: &Patient, b: &Patient) -> bool {
    a.identifier.iter().any(|a| b.identifier.iter().any(|b| (&a.system, &a.value) == (&b.system, &b.value)))
}

/// A name's words as they are compared: without case, accents, apostrophes and the like, which one system has and another
/// loses. NFKD, since a Mac writes `ü` as two characters.
fn words(name: &str) -> Vec<String> {
    const PLAIN: DecomposingNormalizerBorrowed<'static> = DecomposingNormalizerBorrowed::new_nfkd();
    let lower = name.to_lowercase();
    let is_break = |c: char| c.is_whitespace() || ".,_-\u{2010}\u{2011}\u{2012}\u{2013}\u{2014}".contains(c);
    let words = PLAIN.normalize(&lower);
    let words = words.split(is_break).map(|word| word.chars().filter(|c| c.is_alphanumeric()).collect::<String>());
    words.filter(|word| !word.is_empty()).collect()
}

/// The same word, or the initial of the other.
fn same_given(a: &str, b: &str) -> bool {
    let is_initial_of = |a: &str, b: &str| a.chars().count() == 1 && b.starts_with(a);
    a == b || is_initial_of(a, b) || is_initial_of(b, a)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person(family: &str, given: &[&str], birth_date: Option<jiff::civil::Date>) -> Patient {
        Patient {
            identifier: vec![],
            family: (!family.is_empty()).then(|| family.to_owned()),
            given: given.iter().map(|name| (*name).to_owned()).collect(),
            birth_date,
            gender: None,
        }
    }

    fn date(day: i8) -> Option<jiff::civil::Date> {
        Some(jiff::civil::date(2008, 1, day))
    }

    #[test]
    fn only_what_both_say_can_differ() {
        let whole = person("Bixby", &["Timothy", "Paul"], date(6));
        for less in [person("", &[], None), person("Bixby", &[], None), person("", &["Timothy"], date(6))] {
            assert_eq!((difference(&whole, &less), difference(&less, &whole)), (None, None), "{less:?}");
        }
        for (other, words) in [
            (person("Bixby", &["Timothy"], date(7)), "the birth date"),
            (person("Alvarez", &["Timothy"], date(6)), "the family name"),
            (person("Bixby", &["Tamara"], date(6)), "the given name"),
            (person("Bixby", &["Timothy", "Peter"], None), "the given name"),
        ] {
            assert_eq!((difference(&whole, &other), difference(&other, &whole)), (Some(words), Some(words)));
        }
    }

    #[test]
    fn one_name_may_be_written_in_many_ways() {
        for (a, b) in [
            ("Müller", "MU\u{308}LLER"),
            ("Müller", "Muller"),
            ("O'Brien", "O\u{2019}BRIEN"),
            ("O'Brien", "OBrien"),
            ("Smith-Jones", "smith jones"),
            ("van der Berg", "Vanderberg"),
            ("Ångström", "angstrom"),
            ("山田", "山田"),
        ] {
            assert_eq!(difference(&person(a, &[], None), &person(b, &[], None)), None, "{a} {b}");
        }
        for (a, b) in [("Müller", "Möller"), ("Berg", "Bergmann"), ("山田", "山本"), ("Ann", "Anna")] {
            assert!(difference(&person(a, &[], None), &person(b, &[], None)).is_some(), "{a} {b}");
        }
        for (a, b) in [("Timothy P.", "timothy paul"), ("Anna-Maria", "Anna Maria"), ("J.", "José")] {
            assert_eq!(difference(&person("", &[a], None), &person("", &[b], None)), None, "{a} {b}");
        }
    }
}
