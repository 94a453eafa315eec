//! Digests, in hexadecimal.
//!
//! Invariants
//! - a digest is of the bytes of the text, in lower-case hexadecimal.
use std::fmt::Write as _;

use ring::digest::{Algorithm, SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA512, digest};

use super::{Answer, Args, Function};
use crate::jobspec::value::Value;

pub(super) const TABLE: &[(&str, Function)] = &[
    ("md5", |args, _| {
        args.count(1, 1)?;
        Ok(Value::Text(format!("{:x}", md5::compute(args.text(0)?))))
    }),
    ("sha1", |args, _| sha(args, &SHA1_FOR_LEGACY_USE_ONLY)),
    ("sha256", |args, _| sha(args, &SHA256)),
    ("sha512", |args, _| sha(args, &SHA512)),
    ("uuidv5", |args, _| uuid5(args)),
];

fn sha(args: &Args, algorithm: &'static Algorithm) -> Answer {
    args.count(1, 1)?;
    Ok(Value::Text(hex(digest(algorithm, args.text(0)?.as_bytes()).as_ref())))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut made, byte| {
        // Writing into a String cannot fail.
        write!(made, "{byte:02x}").unwrap_or_default();
        made
    })
}

/// RFC 9562, version 5: the name's SHA-1 within a namespace.
fn uuid5(args: &Args) -> Answer {
    args.count(2, 2)?;
    let space = match args.text(0)?.as_str() {
        "dns" => "6ba7b8109dad11d180b400c04fd430c8".to_owned(),
        "url" => "6ba7b8119dad11d180b400c04fd430c8".to_owned(),
        "oid" => "6ba7b8129dad11d180b400c04fd430c8".to_owned(),
        "x500" => "6ba7b8149dad11d180b400c04fd430c8".to_owned(),
        other => other.replace('-', ""),
    };
    let space = u128::from_str_radix(&space, 16).ok().filter(|_| space.len() == 32);
    let Some(space) = space else {
        return Err("the namespace must be dns, url, oid, x500 or a UUID".to_owned());
    };
    let whole = [space.to_be_bytes().as_slice(), args.text(1)?.as_bytes()].concat();
    let hashed = digest(&SHA1_FOR_LEGACY_USE_ONLY, &whole);
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hashed.as_ref()[..16]);
    bytes[6] = bytes[6] & 0x0f | 0x50;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let text = hex(&bytes);
    let parts = [&text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..]];
    Ok(Value::Text(parts.join("-")))
}
