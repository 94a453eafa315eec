//! Files beside the job file, and their names.
//!
//! Invariants
//! - nothing is opened where the folder is closed, and nothing larger than `FILE_BYTES_MAX` is read.
use std::path::{Component, Path, PathBuf};

use base64::Engine as _;

use super::{Answer, Args, Folder, Function};
use crate::jobspec::value::Value;

/// A file that is pasted into a job must fit into one.
const FILE_BYTES_MAX: u64 = 1 << 20;

pub(super) const TABLE: &[(&str, Function)] = &[
    ("file", |args, folder| {
        String::from_utf8(read(args, folder)?)
            .map(Value::Text)
            .map_err(|_| "the file is not text; filebase64 reads any".to_owned())
    }),
    ("filebase64", |args, folder| {
        let bytes = read(args, folder)?;
        Ok(Value::Text(base64::engine::general_purpose::STANDARD.encode(bytes)))
    }),
    ("fileexists", |args, folder| {
        args.count(1, 1)?;
        Ok(Value::Bool(path(&args.text(0)?, folder)?.is_file()))
    }),
    ("abspath", |args, folder| {
        args.count(1, 1)?;
        Ok(Value::Text(path(&args.text(0)?, folder)?.display().to_string()))
    }),
    ("pathexpand", |args, _| {
        args.count(1, 1)?;
        Ok(Value::Text(expanded(&args.text(0)?)))
    }),
    ("basename", |args, _| {
        args.count(1, 1)?;
        let text = args.text(0)?;
        Ok(Value::text(
            Path::new(&text)
                .file_name()
                .map_or_else(|| text.clone().into(), |n| n.to_string_lossy()),
        ))
    }),
    ("dirname", |args, _| {
        args.count(1, 1)?;
        let text = args.text(0)?;
        let parent = Path::new(&text).parent().map(|one| one.display().to_string());
        Ok(Value::Text(parent.filter(|one| !one.is_empty()).unwrap_or_else(|| ".".to_owned())))
    }),
];

/// `~/x` in the home of whoever runs this.
fn expanded(text: &str) -> String {
    match (text.strip_prefix('~'), std::env::home_dir()) {
        (Some(rest), Some(home)) if rest.is_empty() || rest.starts_with('/') => {
            format!("{}{rest}", home.display())
        }
        _ => text.to_owned(),
    }
}

/// Where `text` leads to, without `.` and `..`.
fn path(text: &str, folder: &Folder) -> Answer<PathBuf> {
    let Folder::Readable(folder) = folder else {
        return Err(
            "files cannot be read here: have the job file evaluated where they are".to_owned()
        );
    };
    let mut made = PathBuf::new();
    let whole = std::path::absolute(folder.join(expanded(text))).map_err(|why| why.to_string())?;
    for part in whole.components() {
        match part {
            Component::ParentDir => {
                made.pop();
            }
            other => made.push(other),
        }
    }
    Ok(made)
}

fn read(args: &Args, folder: &Folder) -> Answer<Vec<u8>> {
    args.count(1, 1)?;
    let path = path(&args.text(0)?, folder)?;
    let failed = |why: std::io::Error| format!("{}: {why}", path.display());
    let facts = std::fs::metadata(&path).map_err(failed)?;
    if FILE_BYTES_MAX < facts.len() {
        return Err(format!("{} is larger than {FILE_BYTES_MAX} bytes", path.display()));
    }
    std::fs::read(&path).map_err(failed)
}
