//! The number of a group's name, asked as the system asks: also a domain controller, where there is one.

use std::{path::Path, process::Command};

use super::effect;

/// `None` for a group that nobody knows.
pub fn number(name: &str) -> Option<u32> {
    if let Ok(number) = name.parse() {
        return Some(number);
    }
    let local = effect::read(Path::new("/etc/group")).unwrap_or_default();
    number_in(&String::from_utf8_lossy(&local), name).or_else(|| {
        // Groups of a domain are not in the file.
        let output = Command::new("getent").args(["group", "--", name]).output().ok()?;
        output.status.success().then(|| of_line(&String::from_utf8_lossy(&output.stdout)))?
    })
}

fn number_in(file: &str, name: &str) -> Option<u32> {
    let is_it = |line: &&str| line.split(':').next() == Some(name);
    file.lines().find(is_it).and_then(of_line)
}

/// `name:password:number:members`.
fn of_line(line: &str) -> Option<u32> {
    line.split(':').nth(2)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_found_by_name_and_by_number() {
        assert_eq!((number("0"), number("root"), number("4711")), (Some(0), Some(0), Some(4711)));
        assert_eq!(number("no such group here"), None);
        assert_eq!(number_in("a:x:1:\nstaff:x:50:ann,bob\n", "staff"), Some(50));
    }
}
