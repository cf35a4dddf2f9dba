//! Reading configuration files.

use std::io::ErrorKind;

use pool_router::boot::MAX_FILE;

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
