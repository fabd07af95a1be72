//! When two sets of identifiers speak of the same patient: the one definition that every room uses.

use super::document::Identifier;

/// True when the two sets share an identifier and contradict each other in none.
pub fn same_patient(a: &[Identifier], b: &[Identifier]) -> bool {
    shares(a, b) && !contradicts(a, b)
}

/// True when one identifier (system and value) is in both sets.
pub fn shares(a: &[Identifier], b: &[Identifier]) -> bool {
    a.iter().any(|a| b.iter().any(|b| same_identifier(a, b)))
}

/// True when both sets have numbers of one system, and none of these is the same.
pub fn contradicts(a: &[Identifier], b: &[Identifier]) -> bool {
    contradiction(a, b).is_some()
}

/// The first two numbers of one system in which the sets contradict each other.
pub fn contradiction<'a>(a: &'a [Identifier], b: &'a [Identifier]) -> Option<(&'a Identifier, &'a Identifier)> {
    a.iter().find_map(|one| {
        let mut others = b.iter().filter(|other| same_system(&one.system, &other.system));
        let first = others.next()?;
        // Any number of this system that both have settles it: a patient may have an old and a new one.
        let ours = || a.iter().filter(|identifier| same_system(&identifier.system, &one.system));
        let shared = std::iter::once(first).chain(others).any(|other| ours().any(|ours| same_value(ours, other)));
        (!shared).then_some((one, first))
    })
}

/// The same system and the same value.
pub fn same_identifier(a: &Identifier, b: &Identifier) -> bool {
    same_system(&a.system, &b.system) && same_value(a, b)
}

/// Systems are URIs; one that differs only in case is the same one, written carelessly.
pub fn same_system(a: &str, b: &str) -> bool {
    let (a, b) = (a.trim(), b.trim());
    a == b || (a.contains(':') && a.to_lowercase() == b.to_lowercase())
}

/// Values are strings: leading zeros and case count, spaces around them do not.
fn same_value(a: &Identifier, b: &Identifier) -> bool {
    a.value.trim() == b.value.trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(identifiers: &[(&str, &str)]) -> Vec<Identifier> {
        let identifier = |(system, value): &(&str, &str)| Identifier {
            system: (*system).into(),
            value: (*value).into(),
            kind: None,
        };
        identifiers.iter().map(identifier).collect()
    }

    #[test]
    fn two_sets_are_the_same_patient_when_they_share_one_and_contradict_in_none() {
        for (a, b, same, contradict) in [
            (&[("urn:a", "1")][..], &[("urn:a", "1")][..], true, false),
            (&[("urn:a", "1")], &[("urn:a", "2")], false, true),
            (&[("urn:a", "1")], &[("urn:b", "1")], false, false),
            (&[("urn:a", "1"), ("urn:b", "2")], &[("urn:b", "2"), ("urn:a", "1")], true, false),
            (&[("urn:a", "1"), ("urn:b", "2")], &[("urn:b", "2")], true, false),
            (&[("urn:a", "1"), ("urn:b", "2")], &[("urn:a", "1"), ("urn:b", "3")], false, true),
            (&[("urn:a", "1"), ("urn:a", "2")], &[("urn:a", "2")], true, false),
            (&[("urn:a", "1")], &[("URN:A", " 1 ")], true, false),
            (&[("urn:a", "1")], &[("URN:A", "2")], false, true),
            (&[("urn:a", "1")], &[("urn:a", "01")], false, true),
            (&[("urn:a", "x")], &[("urn:a", "X")], false, true),
            (&[("a", "1")], &[("A", "1")], false, false),
            (&[("urn:a|b", "c")], &[("urn:a", "b|c")], false, false),
            (&[], &[("urn:a", "1")], false, false),
            (&[], &[], false, false),
        ] {
            let (a, b) = (set(a), set(b));
            for (a, b) in [(&a, &b), (&b, &a)] {
                assert_eq!((same_patient(a, b), contradicts(a, b)), (same, contradict), "{a:?} {b:?}");
            }
        }
    }
}
