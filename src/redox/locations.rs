//! Where Redox said that uploaded files are: two files cannot be at the same place.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
};

use crate::model::document::Sha256;

/// Uploads that are remembered; the oldest is forgotten first. A server that mixes up its answers does so among the newest.
const REMEMBERED: usize = 4096;

/// The newest uploads, by their location.
#[derive(Default)]
pub(super) struct Locations(Mutex<Known>);

#[derive(Default)]
struct Known {
    files: HashMap<String, Sha256>,
    order: VecDeque<String>,
}

impl Locations {
    /// Notes where a file is. False when another file was said to be there: the location cannot be trusted for this one.
    pub(super) fn is_new(&self, location: &str, file: Sha256) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(first) = known.files.get(location) {
            return *first == file;
        }
        if known.order.len() == REMEMBERED
            && let Some(oldest) = known.order.pop_front()
        {
            known.files.remove(&oldest);
        }
        known.order.push_back(location.to_owned());
        known.files.insert(location.to_owned(), file);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_belongs_to_one_file() {
        let locations = Locations::default();
        let (one, two) = (Sha256([1; 32]), Sha256([2; 32]));
        assert!(locations.is_new("a", one) && locations.is_new("b", two));
        assert!(locations.is_new("a", one), "the same file may be uploaded again");
        assert!(!locations.is_new("a", two) && !locations.is_new("a", two));
    }

    #[test]
    fn memory_is_bounded() {
        let locations = Locations::default();
        for i in 0..REMEMBERED + 10 {
            assert!(locations.is_new(&i.to_string(), Sha256([1; 32])));
        }
        let known = locations.0.lock().unwrap();
        assert_eq!((known.files.len(), known.order.len()), (REMEMBERED, REMEMBERED));
    }
}
