//! base64, JSON, CSV and URLs.
//!
//! Invariants
//! - what one half of a pair encodes the other decodes to the same.
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::{Answer, Args, Function};
use crate::jobspec::value::Value;

pub(super) const TABLE: &[(&str, Function)] = &[
    ("base64encode", |args, _| {
        args.count(1, 1)?;
        Ok(Value::Text(BASE64.encode(args.text(0)?)))
    }),
    ("base64decode", |args, _| {
        args.count(1, 1)?;
        let bytes = BASE64.decode(args.text(0)?.trim()).map_err(|_| "is not base64".to_owned())?;
        String::from_utf8(bytes)
            .map(Value::Text)
            .map_err(|_| "what it encodes is not text".to_owned())
    }),
    ("jsonencode", |args, _| {
        args.count(1, 1)?;
        Ok(Value::Text(args.value(0)?.to_json().to_string()))
    }),
    ("jsondecode", |args, _| {
        args.count(1, 1)?;
        let json =
            serde_json::from_str(&args.text(0)?).map_err(|why| format!("is not JSON: {why}"))?;
        Ok(Value::from_json(&json))
    }),
    ("csvdecode", |args, _| csv_decode(args)),
    ("urlencode", |args, _| {
        args.count(1, 1)?;
        Ok(Value::Text(url_encode(&args.text(0)?)))
    }),
];

/// As a form's field: a space becomes `+`.
fn url_encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    let encode = |byte: u8| match byte {
        b' ' => "+".to_owned(),
        byte if plain(byte) => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

fn csv_decode(args: &Args) -> Answer {
    args.count(1, 1)?;
    let mut rows = csv_rows(&args.text(0)?)?.into_iter();
    let Some(head) = rows.next() else { return Err("has no header line".to_owned()) };
    let mut made = Vec::new();
    for row in rows {
        if row.len() != head.len() {
            return Err(format!("a row has {} fields, the header has {}", row.len(), head.len()));
        }
        let pairs = head.iter().cloned().zip(row.into_iter().map(Value::Text));
        made.push(Value::Object(pairs.collect()));
    }
    Ok(Value::List(made))
}

fn csv_rows(text: &str) -> Answer<Vec<Vec<String>>> {
    let (mut rows, mut row, mut field, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
    let mut rest = text.chars().peekable();
    let mut begun = false;
    while let Some(c) = rest.next() {
        begun = true;
        match c {
            '"' if quoted && rest.next_if_eq(&'"').is_some() => field.push('"'),
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(std::mem::take(&mut field)),
            '\r' if !quoted && rest.peek() == Some(&'\n') => {}
            '\n' if !quoted => {
                if !(row.is_empty() && field.is_empty()) {
                    row.push(std::mem::take(&mut field));
                    rows.push(std::mem::take(&mut row));
                }
                begun = false;
            }
            other => field.push(other),
        }
    }
    if quoted {
        return Err("a quotation is not closed".to_owned());
    }
    if begun {
        row.push(field);
        rows.push(row);
    }
    Ok(rows)
}
