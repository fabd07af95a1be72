//! When two sets of identifiers mean the same patient.

use super::document::Identifier;

/// Whether two sets of identifiers are the same patient: they share one (system and value), and contradict each other in
/// none (same system, other value).
pub fn same_patient(a: &[Identifier], b: &[Identifier]) -> bool {
    let is_same_system = |a: &Identifier, b: &Identifier| a.system.eq_ignore_ascii_case(&b.system);
    let pairs = || a.iter().flat_map(|a| b.iter().map(move |b| (a, b))).filter(|(a, b)| is_same_system(a, b));
    let is_shared = |(a, b): (&Identifier, &Identifier)| a.value.trim() == b.value.trim();
    pairs().any(is_shared) && !contradicts(a, b)
}

/// Whether a system has values in both sets, and none of them is the same.
pub fn contradicts(a: &[Identifier], b: &[Identifier]) -> bool {
    a.iter().any(|one| {
        let of_system = |other: &&Identifier| one.system.eq_ignore_ascii_case(&other.system);
        let mut others = b.iter().filter(of_system).peekable();
        others.peek().is_some() && !others.any(|other| other.value.trim() == one.value.trim())
    })
}
