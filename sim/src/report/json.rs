//! The few shapes of JSON that the page's data have.
//!
//! Invariants
//! - a text never ends the script element that it stands in.
use std::fmt::{Display, Write};

/// A text, quoted.
pub(super) fn text(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '<' => quoted.push_str("\\u003c"),
            '\u{2028}' | '\u{2029}' => quoted.push(' '),
            c if c < ' ' => {
                let _never_fails = write!(quoted, "\\u{:04x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// A list of what is JSON already, or a number.
pub(super) fn list<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    let mut listed = String::from("[");
    for (at, item) in items.into_iter().enumerate() {
        let comma = if at == 0 { "" } else { "," };
        let _never_fails = write!(listed, "{comma}{item}");
    }
    listed.push(']');
    listed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_stays_within_its_script() {
        assert_eq!(text("</script>\"\\\n\u{1}"), "\"\\u003c/script>\\\"\\\\\\n\\u0001\"");
        assert_eq!(list([1, 2]), "[1,2]");
        assert_eq!(list(Vec::<u8>::new()), "[]");
    }
}
