//! Scenario scripts: commands and what they must print, in one plain text file.
//!
//! A stanza is one or more command lines, a line of four dashes, and what they must print together. Stanzas
//! are separated by an empty line; a line that starts with `#` is a remark. Run with `UPDATE=1` to
//! write what was printed into the file: read the diff before you commit it.

#[cfg(feature = "fuzz")]
pub mod fuzz;
pub mod raft_scripts;
pub mod rig;

use std::path::Path;

/// The script with what `run` prints now in the place of what it says.
///
/// # Panics
/// As `run` does.
pub fn play(script: &str, mut run: impl FnMut(&Command<'_>) -> String) -> String {
    let mut printed = String::new();
    for stanza in script.trim_end().split("\n\n") {
        let (head, _) = stanza.split_once("\n----").unwrap_or((stanza, ""));
        printed.push_str(head);
        let commands = head.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        let outputs: Vec<String> = commands.map(|line| run(&Command::parse(line))).collect();
        if !outputs.is_empty() {
            let said: Vec<&str> = outputs.iter().map(|o| o.trim_end()).collect();
            let said = said.into_iter().filter(|o| !o.is_empty()).collect::<Vec<_>>().join("\n");
            printed.push_str("\n----\n");
            printed.push_str(if said.is_empty() { "nothing" } else { &said });
        }
        printed.push_str("\n\n");
    }
    format!("{}\n", printed.trim_end())
}

/// Run every stanza of the script at `path` through `run`, and compare.
///
/// # Panics
/// With a line-by-line comparison, if what was printed differs from what the script says.
pub fn check_script(path: &Path, run: impl FnMut(&Command<'_>) -> String) {
    let script = std::fs::read_to_string(path).expect("the script can be read");
    let printed = play(&script, run);
    if printed == script {
        return;
    }
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, printed).expect("the script can be written");
        return;
    }
    let differing = script.lines().zip(printed.lines()).position(|(want, got)| want != got);
    let line = differing.unwrap_or_else(|| script.lines().count().min(printed.lines().count())) + 1;
    panic!("{}:{line}: differs; UPDATE=1 rewrites it\n\n{printed}", path.display());
}

/// One command line: `name word word key=value`.
#[derive(Debug)]
pub struct Command<'a> {
    /// The first word.
    pub name: &'a str,
    words: Vec<&'a str>,
}

impl<'a> Command<'a> {
    fn parse(line: &'a str) -> Self {
        let mut words = line.split_whitespace();
        let name = words.next().expect("invariant: the line is not empty");
        Self { name, words: words.collect() }
    }

    /// The words that are not `key=value`.
    pub fn plain(&self) -> impl Iterator<Item = &'a str> + '_ {
        self.words.iter().copied().filter(|word| !word.contains('='))
    }

    /// The value of `key=value`, if the command has it.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&'a str> {
        self.words.iter().find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
    }

    /// Every `key=value`, in order.
    pub fn pairs(&self) -> impl Iterator<Item = (&'a str, &'a str)> + '_ {
        self.words.iter().filter_map(|word| word.split_once('='))
    }

    /// The value of `key=value`, as a number.
    ///
    /// # Panics
    /// If the command has no such key.
    #[must_use]
    pub fn number(&self, key: &str) -> u64 {
        let value = self.value(key);
        let value = value.unwrap_or_else(|| panic!("{}: {key}=<number> is missing", self.name));
        value.parse().unwrap_or_else(|_| panic!("{}: {key}={value} is not a number", self.name))
    }
}
