//! What was released, byte by byte or line by line: the files of `tests/golden`.
//!
//! A line of a file never changes; a new variant adds one. `UPDATE=1 cargo test` rewrites a file; its
//! diff is what is reviewed.
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

mod input_log;

/// Panics if `found` is not what the golden file says.
pub(crate) fn compare_with(file: &str, found: &str) {
    if std::env::var_os("UPDATE").is_some() {
        fs::write(path(file), found).expect("the golden file can be written");
    }
    assert_eq!(found, kept(file), "{file}: what was released changed; formats are appended to");
}

pub(crate) fn kept(file: &str) -> String {
    fs::read_to_string(path(file)).expect("the golden file")
}

fn path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(file)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes everything");
        text
    })
}
