//! Noticing that configuration files have changed.

use std::collections::BTreeMap;

/// What tells one state of a file from another, followed through symbolic links: Kubernetes replaces
/// the link behind all files of a ConfigMap at once. The caller fills it with device, inode, size and
/// time of change, or whatever its system has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp(
    /// The numbers.
    pub [u64; 5],
);

/// The stamps of some files; `None`: there is no such file.
type Stamps = BTreeMap<String, Option<Stamp>>;

/// Which files the configuration was read from, and how they were then.
///
/// Around every load: [`Watch::load_begins`], [`Watch::reads`] before each file is read, and
/// [`Watch::load_ends`]. In between, [`Watch::has_changed`] at regular intervals.
#[derive(Debug, Clone, Default)]
pub struct Watch {
    known: Stamps,
    /// Those of the loads before, while one is under way.
    before: Stamps,
    /// How the files were at the last look, if not as they were read.
    seen: Option<Stamps>,
}

impl Watch {
    /// The files are about to be read.
    pub fn load_begins(&mut self) {
        self.before = std::mem::take(&mut self.known);
        self.seen = None;
    }

    /// This file is about to be read.
    pub fn reads(&mut self, path: &str, stamp: Option<Stamp>) {
        self.known.insert(path.to_owned(), stamp);
    }

    /// The files were read. If they were found wrong, those that were not come to go on being watched.
    pub fn load_ends(&mut self, accepted: bool) {
        let before = std::mem::take(&mut self.before);
        if !accepted {
            for (path, stamp) in before {
                self.known.entry(path).or_insert(stamp);
            }
        }
    }

    /// Whether the files are to be read again: they are not as they were, and have been the same for
    /// two looks.
    pub fn has_changed(&mut self, mut look: impl FnMut(&str) -> Option<Stamp>) -> bool {
        let present: Stamps = self.known.keys().map(|path| (path.clone(), look(path))).collect();
        if present == self.known {
            self.seen = None;
            return false;
        }
        let is_settled = self.seen.as_ref() == Some(&present);
        self.seen = Some(present);
        is_settled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(n: u64) -> Option<Stamp> {
        Some(Stamp([1, n, 3, 4, 5]))
    }

    fn loaded(accepted: bool, files: &[(&str, u64)]) -> Watch {
        let mut watch = Watch::default();
        watch.load_begins();
        watch.reads("passwd", stamp(1));
        watch.reads("conf", stamp(1));
        watch.load_ends(true);
        watch.load_begins();
        for (path, n) in files {
            watch.reads(path, stamp(*n));
        }
        watch.load_ends(accepted);
        watch
    }

    #[test]
    fn a_change_counts_when_it_lasts() {
        let mut watch = loaded(true, &[("conf", 1)]);
        assert!(!watch.has_changed(|_| stamp(1)));
        assert!(!watch.has_changed(|_| stamp(2)));
        assert!(!watch.has_changed(|_| stamp(3)), "still being written");
        assert!(watch.has_changed(|_| stamp(3)));
        assert!(watch.has_changed(|_| stamp(3)), "until it is read");
        watch.load_begins();
        watch.reads("conf", stamp(3));
        watch.load_ends(true);
        assert!(!watch.has_changed(|_| stamp(3)));
        assert!(!watch.has_changed(|_| stamp(3)));
    }

    #[test]
    fn what_comes_and_goes_again_is_no_change() {
        let mut watch = loaded(true, &[("conf", 1)]);
        assert!(!watch.has_changed(|_| None));
        assert!(!watch.has_changed(|_| stamp(1)));
        assert!(!watch.has_changed(|_| None));
        assert!(watch.has_changed(|_| None));
    }

    #[test]
    fn a_faulty_load_hides_no_file() {
        let mut watch = loaded(false, &[("conf", 2)]);
        let mut asked = Vec::new();
        assert!(!watch.has_changed(|path| {
            asked.push(path.to_owned());
            stamp(if path == "conf" { 2 } else { 1 })
        }));
        assert_eq!(asked, ["conf", "passwd"]);
        let mut watch = loaded(true, &[("conf", 2)]);
        assert!(!watch.has_changed(|path| (path == "conf").then_some(()).and(stamp(2))));
    }
}
