//! `drover version`.
use crate::commands::Ended;
use crate::failure::Exit;
use crate::terminal::Terminal;

pub(crate) fn run(terminal: Terminal) -> Ended {
    terminal.line(concat!("Drover v", env!("CARGO_PKG_VERSION")));
    Ok(Exit::Done)
}
