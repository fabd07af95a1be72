//! Which folder a configured path really leads to: by device and inode of what exists, not by how the path is written.

use std::{
    io,
    os::unix::fs::MetadataExt,
    path::{Component, Path, PathBuf},
};

use super::{dir::absent, effect};

/// Where a path leads.
#[derive(Clone, Debug)]
pub struct Place {
    path: PathBuf,
    /// Device and inode; `None` for a folder that is not made yet.
    itself: Option<(u64, u64)>,
    /// The same of all that exists on the way from the root, itself included.
    chain: Vec<(u64, u64)>,
}

/// Finds out. An error means that it cannot be told at the moment.
pub fn find(path: &Path) -> io::Result<Place> {
    let path = resolve(path)?;
    let (mut chain, mut itself) = (Vec::new(), None);
    for folder in path.ancestors() {
        if let Some(found) = absent(effect::metadata(folder))? {
            chain.push((found.dev(), found.ino()));
            if folder == path {
                itself = chain.last().copied();
            }
        }
    }
    Ok(Place { path, itself, chain })
}

impl Place {
    /// Whether `other` is this folder or beneath it.
    pub fn contains(&self, other: &Place) -> bool {
        match self.itself {
            Some(itself) => other.chain.contains(&itself),
            None => other.path.starts_with(&self.path),
        }
    }
}

/// The path without links and `..`. What does not exist yet is taken as it is written.
pub fn resolve(path: &Path) -> io::Result<PathBuf> {
    let mut found = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Prefix(_) | Component::CurDir => {}
            Component::RootDir => found.push("/"),
            Component::ParentDir => {
                found.pop();
            }
            Component::Normal(name) => {
                found.push(name);
                if absent(effect::symlink_metadata(&found))?.is_some_and(|found| found.is_symlink())
                    && let Some(target) = absent(effect::canonicalize(&found))?
                {
                    found = target;
                }
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn folders_are_compared_by_what_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| find(&dir.path().join(path)).unwrap();
        fs::create_dir_all(dir.path().join("inbox/sub")).unwrap();
        symlink(dir.path().join("inbox"), dir.path().join("linked")).unwrap();
        symlink("inbox/sub", dir.path().join("deep")).unwrap();
        for path in
            ["inbox", "inbox/done", "x/../inbox/done", "linked/done", "deep", "deep/done", "deep/../done", "./inbox"]
        {
            assert!(at("inbox").contains(&at(path)), "{path}");
        }
        for path in ["done", "inbox/../done", "x/y", "linked/../done"] {
            assert!(!at("inbox").contains(&at(path)), "{path}");
        }
        assert!(at("new").contains(&at("new/done")) && !at("new").contains(&at("newer")));
    }
}
