//! Two versions of a job side by side, as annotated lines.
//!
//! ```text
//! +/- Job: "web"
//! +/- Task Group: "app" (1 create/destroy update)
//!   +/- Task: "srv" (forces create/destroy update)
//!     +/- Env[VER]: "1" => "2"
//! ```
//!
//! Invariants
//! - every line begins with its sign: colour only repeats it;
//! - what did not change is left out, and the fields of what is wholly new unless they are wanted.
use serde_json::Value;

use crate::api::Fields as _;
use crate::terminal::{Style, Terminal};

/// What became of a thing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Change {
    Added,
    Removed,
    Edited,
    None,
}

impl Change {
    fn of(diff: &Value) -> Self {
        match diff.text("Type") {
            "Added" => Self::Added,
            "Deleted" => Self::Removed,
            "Edited" => Self::Edited,
            _ => Self::None,
        }
    }

    const fn sign(self) -> &'static str {
        match self {
            Self::Added => "+",
            Self::Removed => "-",
            Self::Edited => "+/-",
            Self::None => "",
        }
    }

    /// Columns before the name, the blank after the sign included.
    const fn columns(self) -> usize {
        match self {
            Self::Added | Self::Removed => 2,
            Self::Edited => 4,
            Self::None => 0,
        }
    }
}

/// One line of a difference.
pub(crate) struct Line {
    margin: usize,
    change: Change,
    /// Columns that the sign and what follows it fill: names of one block stand below each other.
    columns: usize,
    text: String,
}

impl Line {
    const fn new(margin: usize, change: Change, text: String) -> Self {
        Self { margin, change, columns: change.columns(), text }
    }

    pub(crate) fn painted(&self, terminal: Terminal) -> String {
        let sign = self.change.sign();
        let blanks = " ".repeat(self.columns.saturating_sub(sign.len()));
        let sign = match self.change {
            Change::Added => terminal.paint(Style::Added, sign),
            Change::Removed => terminal.paint(Style::Removed, sign),
            Change::Edited => terminal.paint(Style::Changed, sign),
            Change::None => String::new(),
        };
        format!("{}{sign}{blanks}{}", " ".repeat(self.margin), self.text)
    }
}

/// The lines of a job's difference.
pub(crate) fn job(diff: &Value, verbose: bool) -> Vec<Line> {
    let mut lines = Vec::new();
    let change = Change::of(diff);
    lines.push(Line::new(0, change, format!("Job: \"{}\"", diff.text("ID"))));
    if change == Change::Edited || verbose {
        fields_and_objects(diff, 0, &mut lines);
    }
    for group in diff.list("TaskGroups") {
        group_lines(group, verbose, &mut lines);
    }
    lines
}

fn group_lines(group: &Value, verbose: bool, lines: &mut Vec<Line>) {
    let change = Change::of(group);
    let updates: Vec<_> = group
        .entries("Updates")
        .into_iter()
        .filter(|(_, count)| count.as_i64() != Some(0))
        .map(|(name, count)| format!("{count} {name}"))
        .collect();
    let updates =
        if updates.is_empty() { String::new() } else { format!(" ({})", updates.join(", ")) };
    let text = format!("Task Group: \"{}\"{updates}", group.text("Name"));
    lines.push(Line::new(0, change, text));
    if change == Change::Edited || verbose {
        fields_and_objects(group, 2, lines);
    }
    for task in group.list("Tasks") {
        let change = Change::of(task);
        if change == Change::None && !verbose && annotations(task).is_empty() {
            continue;
        }
        let text = format!("Task: \"{}\"{}", task.text("Name"), annotations(task));
        lines.push(Line::new(2, change, text));
        if change == Change::Edited || verbose {
            fields_and_objects(task, 4, lines);
        }
    }
}

fn annotations(diff: &Value) -> String {
    let notes: Vec<_> = diff.list("Annotations").iter().filter_map(Value::as_str).collect();
    if notes.is_empty() { String::new() } else { format!(" ({})", notes.join(", ")) }
}

fn fields_and_objects(diff: &Value, margin: usize, lines: &mut Vec<Line>) {
    let fields = diff.list("Fields");
    let width =
        fields.iter().map(|field| field.text("Name").chars().count() + 1).max().unwrap_or(0);
    let columns = fields.iter().map(|field| Change::of(field).columns()).max().unwrap_or(0);
    for field in fields {
        let change = Change::of(field);
        let name = format!("{}:", field.text("Name"));
        let (old, new) = (field.text("Old"), field.text("New"));
        let value = match change {
            Change::Added => format!("\"{new}\""),
            Change::Removed => format!("\"{old}\""),
            Change::Edited => format!("\"{old}\" => \"{new}\""),
            Change::None => format!("\"{new}\""),
        };
        let text = format!("{name:<width$} {value}{}", annotations(field));
        lines.push(Line { margin, change, columns, text });
    }
    for object in diff.list("Objects") {
        let change = Change::of(object);
        lines.push(Line::new(margin, change, format!("{} {{", object.text("Name"))));
        fields_and_objects(object, margin + 2, lines);
        lines.push(Line::new(margin + change.columns(), Change::None, "}".to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(diff: &Value, verbose: bool) -> String {
        let terminal = Terminal::of_process(true);
        let lines: Vec<_> = job(diff, verbose).iter().map(|line| line.painted(terminal)).collect();
        lines.join("\n")
    }

    #[test]
    fn a_difference_shows_what_changed_and_what_that_forces() {
        let field = |kind: &str, name: &str, old: &str, new: &str, notes: &[&str]| json!({"Type": kind, "Name": name, "Old": old, "New": new, "Annotations": notes});
        let resources = json!({"Type": "Edited", "Name": "Resources", "Fields": [
            field("Edited", "CPU", "50", "60", &[]), field("None", "MemoryMB", "32", "32", &[])]});
        let task = json!({"Type": "Edited", "Name": "srv", "Objects": [resources],
            "Annotations": ["forces create/destroy update"],
            "Fields": [field("Deleted", "Env[OLD]", "x", "", &[])]});
        let group = json!({"Type": "Edited", "Name": "app", "Updates": {"create": 1, "ignore": 0},
            "Fields": [field("Edited", "Count", "2", "3", &["forces create"])], "Tasks": [task]});
        let diff = json!({"Type": "Edited", "ID": "web", "TaskGroups": [group], "Fields": null});
        let expected = r#"+/- Job: "web"
+/- Task Group: "app" (1 create)
  +/- Count: "2" => "3" (forces create)
  +/- Task: "srv" (forces create/destroy update)
    - Env[OLD]: "x"
    +/- Resources {
      +/- CPU:      "50" => "60"
          MemoryMB: "32"
        }"#;
        assert_eq!(shown(&diff, false), expected);
    }

    #[test]
    fn the_fields_of_a_new_job_are_shown_only_when_wanted() {
        let new = json!({"Type": "Added", "ID": "web", "TaskGroups": [
            {"Type": "Added", "Name": "app", "Updates": {"create": 2}, "Tasks": null}],
            "Fields": [{"Type": "Added", "Name": "Name", "Old": "", "New": "web"}]});
        assert_eq!(shown(&new, false), "+ Job: \"web\"\n+ Task Group: \"app\" (2 create)");
        assert!(shown(&new, true).contains("+ Name: \"web\""));
    }
}
