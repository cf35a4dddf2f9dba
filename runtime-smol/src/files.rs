//! Reading configuration files.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;

use pool_router::boot::MAX_FILE;
use pool_router::watch::{Stamp, Watch};

/// The text of a file; `None` if there is none.
pub(crate) fn read(path: &str) -> Result<Option<String>, String> {
    let size = match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => return Err("is a directory".to_owned()),
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    if size > MAX_FILE {
        return Err(format!("has {size} bytes; at most {MAX_FILE} are read"));
    }
    std::fs::read_to_string(path).map(Some).map_err(|error| error.to_string())
}

/// [`read`], for a load that is watched.
pub(crate) fn read_watched(watch: &mut Watch, path: &str) -> Result<Option<String>, String> {
    watch.reads(path, stamp(path));
    read(path)
}

/// What tells whether the file has changed, behind all symbolic links.
pub(crate) fn stamp(path: &str) -> Option<Stamp> {
    let found = std::fs::metadata(path).ok()?;
    let [seconds, nanos] = [found.mtime(), found.mtime_nsec()].map(i64::cast_unsigned);
    Some(Stamp([found.dev(), found.ino(), found.size(), seconds, nanos]))
}
