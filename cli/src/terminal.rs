//! Standard output and error: lines out, quietly nothing when nobody reads any more.
//!
//! Invariants
//! - data goes to stdout, progress of other things and complaints to stderr;
//! - colour only where a person sees it, and never as the only sign;
//! - a reader that goes away (`| head`) ends the program without a word.
use std::io::{self, IsTerminal as _, Write as _};

/// What a piece of text means; how it looks is decided here.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Style {
    Heading,
    Added,
    Removed,
    Changed,
    Warning,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Terminal {
    coloured: bool,
}

impl Terminal {
    /// The terminal of this process, as the habits of `NO_COLOR` and `TERM` want it.
    pub(crate) fn of_process(no_color: bool) -> Self {
        let set = |name: &str| std::env::var_os(name).is_some_and(|text| !text.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|text| text == "dumb");
        let refused = no_color
            || dumb
            || ["NO_COLOR", "DROVER_CLI_NO_COLOR", "NOMAD_CLI_NO_COLOR"].into_iter().any(set);
        Self { coloured: !refused && (set("CLICOLOR_FORCE") || io::stdout().is_terminal()) }
    }

    /// Whether a person can answer questions here.
    pub(crate) fn can_ask() -> bool {
        io::stdin().is_terminal() && io::stderr().is_terminal()
    }

    /// One line, or several, of data.
    pub(crate) fn line(self, text: &str) {
        self.raw(format!("{text}\n").as_bytes());
    }

    /// A heading over `text`, after an empty line.
    pub(crate) fn section(self, heading: &str, text: &str) {
        self.line(&format!("\n{}\n{text}", self.paint(Style::Heading, heading)));
    }

    /// Bytes as they are: what tasks print need not be text.
    pub(crate) fn raw(self, bytes: &[u8]) {
        let mut out = io::stdout().lock();
        if out.write_all(bytes).and_then(|()| out.flush()).is_err() {
            std::process::exit(0);
        }
    }

    /// A line for the person, not for the pipe.
    pub(crate) fn complain(self, text: &str) {
        // There is nowhere left to say that stderr is closed.
        drop(writeln!(io::stderr().lock(), "{text}"));
    }

    /// Asks on stderr; anything but yes is no.
    pub(crate) fn confirm(self, question: &str) -> bool {
        drop(write!(io::stderr().lock(), "{question} [y/N] "));
        let mut answer = String::new();
        io::stdin().read_line(&mut answer).is_ok()
            && matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
    }

    /// `text` in the look of `style`.
    pub(crate) fn paint(self, style: Style, text: &str) -> String {
        if !self.coloured {
            return text.to_owned();
        }
        let code = match style {
            Style::Heading => "1",
            Style::Added => "32",
            Style::Removed => "31",
            Style::Changed | Style::Warning => "93",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}
