//! What is wrong with a file, where, and what would be right.
//!
//! Invariants
//! - line and column count from one, columns in characters;
//! - at most `DIAGNOSTICS_MAX` are kept: a file of nonsense does not become a book.
//!
//! Does not colour: the command line may.
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::ops::Range;

/// More than this many findings help nobody.
pub const DIAGNOSTICS_MAX: usize = 50;
/// An excerpt's longest line, in characters.
const EXCERPT_CHARS_MAX: usize = 160;

/// Where something stands in a text, in bytes.
pub(crate) type Place = Range<usize>;

/// A text and what it is called.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// Shown before line and column.
    pub file: String,
    pub text: String,
}

/// One finding.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Diagnostic {
    pub file: String,
    pub line: usize,
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What to do about it; may be empty.
    pub hint: String,
    /// The source line with carets under the place; may be empty.
    pub excerpt: String,
}

/// All findings of one file, in the order of their places.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Diagnostics {
    /// At most `DIAGNOSTICS_MAX`.
    pub list: Vec<Diagnostic>,
}

impl Source {
    /// A finding at `place`.
    pub(crate) fn find(&self, place: Place, message: String, hint: String) -> Diagnostic {
        let start = self.floor(place.start);
        let line_start = self.text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = self.text[start..].find('\n').map_or(self.text.len(), |at| start + at);
        let line = self.text[..start].matches('\n').count() + 1;
        let column = self.text[line_start..start].chars().count() + 1;
        let end = self.floor(place.end).clamp(start, line_end);
        let excerpt = self.excerpt(line, line_start..line_end, start..end);
        Diagnostic { file: self.file.clone(), line, column, message, hint, excerpt }
    }

    /// A finding that concerns the file as a whole.
    pub(crate) fn whole(&self, message: String, hint: String) -> Diagnostic {
        let (file, excerpt) = (self.file.clone(), String::new());
        Diagnostic { file, line: 1, column: 1, message, hint, excerpt }
    }

    fn excerpt(&self, line: usize, whole: Place, marked: Place) -> String {
        let before = &self.text[whole.start..marked.start];
        let text = self.text[whole].trim_end();
        if text.chars().count() > EXCERPT_CHARS_MAX {
            return String::new();
        }
        let indent: String = before.chars().map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        let carets = self.text[marked].chars().count().max(1);
        let number = line.to_string();
        let margin = " ".repeat(number.len());
        format!("  {number} | {text}\n  {margin} | {indent}{}", "^".repeat(carets))
    }

    fn floor(&self, at: usize) -> usize {
        let mut at = at.min(self.text.len());
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        at
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)?;
        if !self.excerpt.is_empty() {
            write!(f, "\n{}", self.excerpt)?;
        }
        if !self.hint.is_empty() {
            write!(f, "\n  {}", self.hint)?;
        }
        Ok(())
    }
}

impl Diagnostics {
    /// Keep one more finding, if there is room.
    pub(crate) fn push(&mut self, found: Diagnostic) {
        if self.list.len() < DIAGNOSTICS_MAX && !self.list.contains(&found) {
            self.list.push(found);
        }
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(found: Diagnostic) -> Self {
        Self { list: vec![found] }
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        for found in &self.list {
            writeln!(text, "{found}")?;
        }
        f.write_str(text.trim_end())
    }
}

impl std::error::Error for Diagnostics {}

/// Whose files are read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Dialect {
    JobFile,
    AgentFile,
}

impl Dialect {
    /// How a part of Nomad's files that is not supported is turned down.
    pub(crate) fn refusal(self, name: &str) -> String {
        let files = match self {
            Self::JobFile => "job files",
            Self::AgentFile => "agent configuration",
        };
        format!("`{name}` is a part of Nomad's {files} that Drover does not support yet; remove it")
    }
}

/// What the readers of one file have found so far, and where each field stands.
pub(crate) struct Findings<'a> {
    pub(crate) source: &'a Source,
    pub(crate) dialect: Dialect,
    found: RefCell<Diagnostics>,
    places: RefCell<BTreeMap<String, Place>>,
}

impl<'a> Findings<'a> {
    pub(crate) fn new(source: &'a Source, dialect: Dialect) -> Self {
        Self { source, dialect, found: RefCell::default(), places: RefCell::default() }
    }

    /// Something is wrong at `place`.
    pub(crate) fn wrong(&self, place: Place, message: String, hint: String) {
        self.found.borrow_mut().push(self.source.find(place, message, hint));
    }

    /// A finding in another file that belongs to this one.
    pub(crate) fn elsewhere(&self, found: Diagnostic) {
        self.found.borrow_mut().push(found);
    }

    /// Whether something is wrong already.
    pub(crate) fn any(&self) -> bool {
        !self.found.borrow().is_empty()
    }

    /// Remember where `field` stands.
    pub(crate) fn place(&self, field: String, place: Place) {
        self.places.borrow_mut().insert(field, place);
    }

    /// Whether `field` stands in the file.
    pub(crate) fn is_placed(&self, field: &str) -> bool {
        self.places.borrow().contains_key(field)
    }

    /// Where `field`, or the nearest thing around it, stands.
    pub(crate) fn place_of(&self, field: &str) -> Option<Place> {
        let places = self.places.borrow();
        let mut path = field;
        loop {
            if let Some(place) = places.get(path) {
                return Some(place.clone());
            }
            path = &path[..path.rfind('.')?];
        }
    }

    /// All findings, in the order of their places.
    pub(crate) fn into_diagnostics(self) -> Diagnostics {
        let mut found = self.found.into_inner();
        let own = &self.source.file;
        found.list.sort_by_key(|one| (one.file != *own, one.line, one.column));
        found
    }
}

/// The one of `known` that was probably meant by `word`.
pub(crate) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let close = |name: &&str| 700 <= similarity_permille(word, name);
    known.filter(close).max_by_key(|name| similarity_permille(word, name))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 1000")]
fn similarity_permille(left: &str, right: &str) -> u32 {
    let (left, right) = (left.to_lowercase(), right.to_lowercase());
    (strsim::jaro_winkler(&left, &right).clamp(0.0, 1.0) * 1000.0) as u32
}
