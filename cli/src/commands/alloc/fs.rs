//! `drover alloc fs`: the files of an allocation.
use std::io::Read as _;

use clap::Args;
use serde_json::Value;

use super::frames;
use crate::api::Fields as _;
use crate::commands::{Ended, Session};
use crate::failure::{Exit, Failure, error};
use crate::table::{bytes, table};
use crate::time;

const TAIL_LINES: usize = 10;
const LINE_BYTES: u64 = 1024;

#[derive(Args, Debug)]
pub(crate) struct FsArgs {
    #[arg(value_name = "ALLOC", help = "The allocation, or the beginning of its id")]
    id: String,
    #[arg(value_name = "PATH", default_value = "/", help = "A file or folder of it")]
    path: String,
    #[arg(short = 'H', help = "Sizes as people read them")]
    human: bool,
    #[arg(long, help = "What it is instead of what is in it")]
    stat: bool,
    #[arg(short = 'f', help = "Go on with what comes")]
    follow: bool,
    #[arg(long, help = "Only the last lines, 10 or -n")]
    tail: bool,
    #[arg(short = 'n', value_name = "LINES", help = "How many lines -tail shows")]
    lines: Option<usize>,
    #[arg(
        short = 'c',
        value_name = "BYTES",
        help = "Only the last bytes",
        conflicts_with = "lines"
    )]
    bytes: Option<u64>,
    #[arg(long, help = "ALLOC is a job: not supported yet")]
    job: bool,
}

pub(crate) fn run(args: &FsArgs, session: &mut Session) -> Ended {
    if args.job {
        return Err(Failure::new("-job is not supported yet: name an allocation of the job"));
    }
    let alloc = session.find_alloc(&args.id)?;
    let ask = |session: &mut Session, what: &str| {
        let path = format!("/v1/client/fs/{what}/{}", alloc.text("ID"));
        session.of_node(&alloc, |client| client.get(&path, &[("path", &args.path)]))
    };
    let stat = ask(session, "stat").map_err(error("reading file"))?;
    if args.stat {
        let row = row(&stat, args.human, true);
        let header = ["Mode", "Size", "Modified Time", "Content Type", "Name"];
        session.terminal.line(&table(&header, &[row]));
        return Ok(Exit::Done);
    }
    if stat.flag("IsDir") {
        let files = ask(session, "ls").map_err(error("listing folder"))?;
        let rows: Vec<_> = files.items().iter().map(|file| row(file, args.human, false)).collect();
        session.terminal.line(&table(&["Mode", "Size", "Modified Time", "Name"], &rows));
        return Ok(Exit::Done);
    }
    let size = u64::try_from(stat.int("Size")).unwrap_or(0);
    print(args, &alloc, size, session)
}

fn row(file: &Value, human: bool, with_type: bool) -> Vec<String> {
    let size = u64::try_from(file.int("Size")).unwrap_or(0);
    let name = file.text("Name");
    let slash = if file.flag("IsDir") { "/" } else { "" };
    let mut row = vec![
        file.text("FileMode").to_owned(),
        if human { bytes(size) } else { format!("{size} B") },
        time::stamp(time::parse(file.text("ModTime")).unwrap_or(0)),
    ];
    if with_type {
        row.push(file.text("ContentType").to_owned());
    }
    row.push(format!("{name}{slash}"));
    row
}

fn print(args: &FsArgs, alloc: &Value, size: u64, session: &mut Session) -> Ended {
    let lines = (args.tail || args.lines.is_some()).then(|| args.lines.unwrap_or(TAIL_LINES));
    let wanted = args.bytes.or(lines.map(|lines| LINE_BYTES.saturating_mul(lines as u64)));
    let offset = wanted.map_or(0, |wanted| size.saturating_sub(wanted)).to_string();
    let id = alloc.text("ID");
    let terminal = session.terminal;
    if args.follow {
        let query = [("offset", offset.as_str()), ("origin", "start"), ("path", &args.path)];
        let path = format!("/v1/client/fs/stream/{id}");
        let body = session.of_node(alloc, |client| client.stream(&path, &query));
        let mut cut = lines;
        let read = frames::each(body.map_err(error("reading file"))?, |data| {
            terminal.raw(cut.take().map_or(data, |lines| frames::last_lines(data, lines)));
        });
        return read.map_err(error("reading file")).map(|()| Exit::Done);
    }
    let (what, query): (_, &[(&str, &str)]) = match wanted {
        Some(_) => ("readat", &[("limit", "-1"), ("offset", &offset), ("path", &args.path)]),
        None => ("cat", &[("path", &args.path)]),
    };
    let path = format!("/v1/client/fs/{what}/{id}");
    let body = session.of_node(alloc, |client| client.stream(&path, query));
    let mut body = body.map_err(error("reading file"))?;
    let broken = |why| Failure::new(format!("Error reading file: the answer broke off: {why}"));
    if let Some(lines) = lines {
        let mut held = Vec::new();
        body.read_to_end(&mut held).map_err(broken)?;
        terminal.raw(frames::last_lines(&held, lines));
        return Ok(Exit::Done);
    }
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = body.read(&mut buffer).map_err(broken)?;
        if read == 0 {
            return Ok(Exit::Done);
        }
        terminal.raw(&buffer[..read]);
    }
}
