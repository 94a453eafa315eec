//! Streams of the API: JSON objects one behind the other, with the bytes of a file in them.
//!
//! Invariants
//! - bytes come out as they were written, text or not;
//! - an empty frame is a sign of life, and not data.
use std::io::BufReader;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Deserializer, Value};

use crate::api::Fields as _;
use crate::failure::Refusal;
use crate::http::Body;

/// Gives the data of every frame to `take`, until the stream ends.
pub(crate) fn each(body: Body, mut take: impl FnMut(&[u8])) -> Result<(), Refusal> {
    let frames = Deserializer::from_reader(BufReader::new(body)).into_iter::<Value>();
    for frame in frames {
        let frame = frame.map_err(|why| Refusal::Malformed {
            why: if why.is_io() {
                format!("the stream broke off: {why}")
            } else {
                format!("a frame of the stream is not JSON: {why}")
            },
        })?;
        let data = frame.text("Data");
        if !data.is_empty() {
            let data = STANDARD.decode(data).map_err(|why| Refusal::Malformed {
                why: format!("a frame of the stream is not base64: {why}"),
            })?;
            take(&data);
        }
    }
    Ok(())
}

/// The end of `data` that holds its last `lines` lines.
pub(crate) fn last_lines(data: &[u8], lines: usize) -> &[u8] {
    let closed = data.last() == Some(&b'\n');
    // The newline at the very end closes the last line, it does not begin another.
    let ends = data.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n');
    let before = if closed { lines } else { lines.saturating_sub(1) };
    if lines == 0 {
        return &[];
    }
    let start = ends.map(|(at, _)| at + 1).nth(before);
    &data[start.unwrap_or(0)..]
}

#[cfg(test)]
mod tests {
    use super::last_lines;

    #[test]
    fn the_last_lines_are_counted_with_and_without_a_final_newline() {
        assert_eq!(last_lines(b"a\nb\nc\n", 2), b"b\nc\n");
        assert_eq!(last_lines(b"a\nb\nc", 2), b"b\nc");
        assert_eq!(last_lines(b"a\n", 5), b"a\n");
        assert_eq!(last_lines(b"a\n", 0), b"");
        assert_eq!(last_lines(b"", 1), b"");
    }
}
