//! Whether two statements can speak of the same person: what both of them say must agree.

use icu_normalizer::DecomposingNormalizerBorrowed;

use crate::model::document::{Gender, Patient};

/// Something that two statements both say, and not alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What it is about, in words for a sentence.
    pub what: &'static str,
    /// What the first one says.
    pub one: String,
    /// What the second one says.
    pub other: String,
}

/// What the two do not agree on; `None` when neither contradicts the other.
pub fn difference(a: &Patient, b: &Patient) -> Option<Difference> {
    let differ = |what, one: String, other: String| Some(Difference { what, one, other });
    if let (Some(a), Some(b)) = (a.birth_date, b.birth_date)
        && a != b
    {
        return differ("the birth date", a.to_string(), b.to_string());
    }
    if let (Some(one), Some(other)) = (&a.family, &b.family)
        && words(one).concat() != words(other).concat()
    {
        return differ("the family name", one.clone(), other.clone());
    }
    let (one, other) = (a.given.join(" "), b.given.join(" "));
    if !given_names_agree(&words(&one), &words(&other)) {
        return differ("the given name", one, other);
    }
    match (a.gender, b.gender) {
        // That somebody does not know it contradicts nobody.
        (None | Some(Gender::Unknown), _) | (_, None | Some(Gender::Unknown)) => None,
        (Some(one), Some(other)) if one == other => None,
        (Some(one), Some(other)) => differ("the gender", gender_word(one).into(), gender_word(other).into()),
    }
}

/// Everything that two statements say, the first one's spelling where both say it.
pub fn union(mut a: Patient, b: &Patient) -> Patient {
    a.identifier.extend(b.identifier.iter().filter(|_| a.identifier.is_empty()).cloned().collect::<Vec<_>>());
    a.family = a.family.or_else(|| b.family.clone());
    if a.given.is_empty() {
        a.given.clone_from(&b.given);
    }
    a.birth_date = a.birth_date.or(b.birth_date);
    a.gender = match a.gender {
        None => b.gender,
        known => known,
    };
    a
}

/// Whether words that somebody wrote into a folder's name are part of the patient's name: one of them at least, initials
/// not counted while there are longer ones. True as well when there are no words, or no name is known.
pub fn names_agree(left_over: &str, patient: &Patient) -> bool {
    let stated: Vec<String> =
        words(left_over).into_iter().filter(|word| word.chars().any(char::is_alphabetic)).collect();
    let mut names = words(patient.family.as_deref().unwrap_or_default());
    names.extend(words(&patient.given.join(" ")));
    if stated.is_empty() || names.is_empty() {
        return true;
    }
    if stated.iter().all(|word| is_initial(word)) {
        return stated.iter().any(|word| names.iter().any(|name| same_given(word, name)));
    }
    // `vanderberg` is `van der Berg`, and the other way round.
    let runs = |words: &[String]| -> Vec<String> {
        let starts = 0..words.len();
        starts
            .flat_map(|at| (at + 1..=words.len().min(at + 5)).map(move |end| (at, end)))
            .map(|(at, end)| words[at..end].concat())
            .collect()
    };
    let names = runs(&names);
    runs(&stated).iter().any(|run| !is_initial(run) && names.contains(run)) || {
        // A name of one letter, which some are.
        stated.iter().any(|word| {
            is_initial(word) && patient.family.as_deref().is_some_and(|family| words(family).concat() == *word)
        })
    }
}

/// A name's words as they are compared: without case, accents, apostrophes and the like, which one system has and another
/// loses. NFKD, since a Mac writes `ü` as two characters.
pub fn words(name: &str) -> Vec<String> {
    const PLAIN: DecomposingNormalizerBorrowed<'static> = DecomposingNormalizerBorrowed::new_nfkd();
    let lower = name.to_lowercase();
    let is_break = |c: char| c.is_whitespace() || ".,;_-()[]/&+\u{2010}\u{2011}\u{2012}\u{2013}\u{2014}".contains(c);
    let decomposed = PLAIN.normalize(&lower);
    let mut found = Vec::new();
    for word in decomposed.split(is_break) {
        let mut plain = String::new();
        for c in word.chars().filter(|c| c.is_alphanumeric()) {
            match c {
                // Letters with a stroke through them, and ligatures, are not decomposed.
                'ß' => plain.push_str("ss"),
                'æ' => plain.push_str("ae"),
                'œ' => plain.push_str("oe"),
                'þ' => plain.push_str("th"),
                'ø' => plain.push('o'),
                'ł' => plain.push('l'),
                'đ' | 'ð' => plain.push('d'),
                'ı' => plain.push('i'),
                c => plain.push(c),
            }
        }
        if !plain.is_empty() {
            found.push(plain);
        }
    }
    found
}

/// Every word of the shorter one is a word of the longer one, or an initial of one, in whatever order.
fn given_names_agree(a: &[String], b: &[String]) -> bool {
    let (few, many) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    let mut free: Vec<&String> = many.iter().collect();
    // Whole words first: `P. Paul` and `Paul Peter` must not lose Paul to the initial.
    let (mut few, initials): (Vec<&String>, Vec<&String>) = few.iter().partition(|word| !is_initial(word));
    few.extend(initials);
    let whole = a.concat() == b.concat();
    whole
        || few.iter().all(|word| {
            let exact = free.iter().position(|other| other == word);
            let found = exact.or_else(|| free.iter().position(|other| same_given(word, other)));
            found.map(|at| free.swap_remove(at)).is_some()
        })
}

fn is_initial(word: &str) -> bool {
    word.chars().count() == 1 && word.chars().all(|c| !is_ideograph(c))
}

/// A single one of these is a whole name.
fn is_ideograph(c: char) -> bool {
    ('\u{3040}'..='\u{9fff}').contains(&c) || ('\u{ac00}'..='\u{d7af}').contains(&c) || c >= '\u{20000}'
}

/// The same word, or the initial of the other.
fn same_given(a: &str, b: &str) -> bool {
    let is_initial_of = |a: &str, b: &str| is_initial(a) && b.starts_with(a);
    a == b || is_initial_of(a, b) || is_initial_of(b, a)
}

fn gender_word(gender: Gender) -> &'static str {
    match gender {
        Gender::Male => "male",
        Gender::Female => "female",
        Gender::Other => "other",
        Gender::Unknown => "unknown",
    }
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

    fn what(a: &Patient, b: &Patient) -> Option<&'static str> {
        difference(a, b).map(|difference| difference.what)
    }

    #[test]
    fn only_what_both_say_can_differ() {
        let whole = person("Bixby", &["Timothy", "Paul"], date(6));
        for less in [
            person("", &[], None),
            person("Bixby", &[], None),
            person("", &["Timothy"], date(6)),
            person("", &["Paul", "Timothy"], None),
            person("", &["P. T."], None),
            person("", &["Paul"], None),
        ] {
            assert_eq!((difference(&whole, &less), difference(&less, &whole)), (None, None), "{less:?}");
        }
        for (other, words) in [
            (person("Bixby", &["Timothy"], date(7)), "the birth date"),
            (person("Alvarez", &["Timothy"], date(6)), "the family name"),
            (person("Bixby", &["Tamara"], date(6)), "the given name"),
            (person("Bixby", &["Timothy", "Peter"], None), "the given name"),
            (person("Bixby", &["T. T."], None), "the given name"),
        ] {
            assert_eq!((what(&whole, &other), what(&other, &whole)), (Some(words), Some(words)));
        }
        let gendered = |gender| Patient { gender: Some(gender), ..whole.clone() };
        assert_eq!(what(&gendered(Gender::Male), &gendered(Gender::Female)), Some("the gender"));
        assert_eq!(what(&gendered(Gender::Male), &gendered(Gender::Unknown)), None);
        let names = difference(&person("Bixby", &[], None), &person("Alvarez", &[], None)).unwrap();
        assert_eq!((names.one.as_str(), names.other.as_str()), ("Bixby", "Alvarez"), "a note names both");
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
            ("Groß", "GROSS"),
            ("Sørensen", "Sorensen"),
            ("Łukasz", "lukasz"),
            ("山田", "山田"),
        ] {
            assert_eq!(difference(&person(a, &[], None), &person(b, &[], None)), None, "{a} {b}");
        }
        for (a, b) in [("Müller", "Möller"), ("Berg", "Bergmann"), ("山田", "山本"), ("Ann", "Anna")] {
            assert!(difference(&person(a, &[], None), &person(b, &[], None)).is_some(), "{a} {b}");
        }
        for (a, b) in [
            ("Timothy P.", "timothy paul"),
            ("Anna-Maria", "Anna Maria"),
            ("Annamaria", "Anna-Maria"),
            ("J.", "José"),
            ("Maria Anna", "Anna M."),
        ] {
            assert_eq!(difference(&person("", &[a], None), &person("", &[b], None)), None, "{a} {b}");
        }
        for (a, b) in [("山", "山本"), ("Anna", "A. B.")] {
            let same = difference(&person("", &[a], None), &person("", &[b], None)).is_none();
            assert_eq!(same, a == "Anna", "{a} {b}");
        }
    }

    #[test]
    fn the_words_of_a_folder_s_name_must_hold_a_part_of_the_patient_s() {
        let paul = person("Fischer", &["Paul", "Emil"], None);
        let ana = person("Fischer López", &["Ana"], None);
        let van = person("van der Berg", &["Jan"], None);
        for (left_over, patient, agrees) in [
            (" Fischer, P.", &paul, true),
            (" FISCHER", &paul, true),
            (", Emil", &paul, true),
            (" P. F.", &paul, true),
            (" fischer-lopez", &ana, true),
            (" López", &ana, true),
            (" fischerlopez", &ana, true),
            (" Vanderberg", &van, true),
            (" Berg", &van, true),
            (" Room 5 Fischer", &paul, true),
            ("", &paul, true),
            (" 2026-11", &paul, true),
            (" - ", &paul, true),
            (" Wrongname", &paul, false),
            (" Wrongname, P.", &paul, false),
            (" Fisch", &paul, false),
            (" Fischermann", &paul, false),
            (" Labs", &paul, false),
            (" X.", &paul, false),
            (" Wrongname", &person("", &[], None), true),
        ] {
            assert_eq!(names_agree(left_over, patient), agrees, "{left_over:?} {patient:?}");
        }
    }

    #[test]
    fn statements_complete_each_other() {
        let both = union(person("Bixby", &[], None), &person("BIXBY", &["Timothy"], date(6)));
        assert_eq!(both, person("Bixby", &["Timothy"], date(6)));
    }
}
