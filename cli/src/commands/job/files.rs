//! Job files: reading them for every command that takes one, checking them, writing an example.
//!
//! Invariants
//! - a file is read and judged here, and sent as JSON: servers see no HCL;
//! - an existing file is never overwritten.
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;
use drover_shell::jobspec::{self, Example, Folder, Inputs, JobFile, Source};
use serde_json::{Value, json};

use crate::api::Fields as _;
use crate::commands::{Ended, Session};
use crate::failure::{Exit, Failure, Refusal, error};
use crate::terminal::{Style, Terminal};

/// A job file and what its variables are set to.
#[derive(Args, Clone, Debug)]
pub(crate) struct FileArgs {
    #[arg(value_name = "FILE", help = "The job file, HCL or JSON; - is standard input")]
    pub(crate) file: PathBuf,
    #[arg(long = "var", value_name = "NAME=VALUE", help = "Set a variable; may be repeated")]
    pub(crate) vars: Vec<String>,
    #[arg(long, value_name = "FILE", help = "Read variables from a file; may be repeated")]
    pub(crate) var_file: Vec<PathBuf>,
    #[arg(long = "json", help = "The file is JSON (files that begin with { are known to be)")]
    pub(crate) is_json: bool,
}

impl FileArgs {
    /// What the file says, with the namespace and region of this call where it names none. Where it names a
    /// region, that is asked from now on.
    pub(crate) fn read(&self, session: &mut Session) -> Result<JobFile, Failure> {
        let from_stdin = self.file == Path::new("-");
        let (source, folder) = if from_stdin {
            let mut text = String::new();
            std::io::stdin()
                .read_to_string(&mut text)
                .map_err(|why| Failure::new(format!("Error reading standard input: {why}")))?;
            (Source { file: "<stdin>".to_owned(), text }, PathBuf::from("."))
        } else {
            let parent = self.file.parent().filter(|path| !path.as_os_str().is_empty());
            let folder = parent.unwrap_or(Path::new(".")).to_owned();
            (Source::read(&self.file).map_err(|found| refused(&found))?, folder)
        };
        let inputs = self.inputs(folder)?;
        let mut job = if self.is_json {
            jobspec::parse_json(source.text.as_bytes()).map_err(|problems| {
                let shown = problems
                    .iter()
                    .map(|problem| format!("{}: {} {}", source.file, problem.field, problem.why));
                Failure::new(shown.collect::<Vec<_>>().join("\n"))
            })?
        } else {
            jobspec::parse(&source, &inputs).map_err(|found| refused(&found))?
        };
        let target = &mut session.client.target;
        job.written.namespace = job.written.namespace.or_else(|| target.namespace.clone());
        job.written.region = job.written.region.or_else(|| target.region.clone());
        target.region.clone_from(&job.written.region);
        Ok(job)
    }

    fn inputs(&self, folder: PathBuf) -> Result<Inputs, Failure> {
        let mut flags = BTreeMap::new();
        for var in &self.vars {
            let (name, value) = var.split_once('=').ok_or_else(|| {
                Failure::new(format!("Error reading -var {var:?}: write it as NAME=VALUE"))
            })?;
            flags.insert(name.to_owned(), value.to_owned());
        }
        let files = self.var_file.iter().map(|path| Source::read(path));
        let files = files.collect::<Result<_, _>>().map_err(|found| refused(&found))?;
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Ok(Inputs { flags, files, environment, folder: Folder::Readable(folder) })
    }
}

fn refused(found: &jobspec::Diagnostics) -> Failure {
    Failure::new(format!("Error in the job file:\n{found}"))
}

/// The body that carries `job` in every request.
pub(crate) fn body(job: &JobFile) -> Result<Value, Failure> {
    let job = serde_json::to_value(&job.written)
        .map_err(|why| Failure::new(format!("Error writing the job as JSON: {why}")))?;
    Ok(json!({ "Job": job }))
}

/// Says what the servers think of a job that they accept all the same.
pub(crate) fn warn(session: &Session, answer: &Value) {
    let warnings = answer.text("Warnings");
    if !warnings.is_empty() {
        let text = format!("Job Warnings:\n{warnings}\n");
        session.terminal.line(&session.terminal.paint(Style::Warning, &text));
    }
}

#[derive(Args, Debug)]
pub(crate) struct ValidateArgs {
    #[command(flatten)]
    file: FileArgs,
}

pub(crate) fn validate(args: &ValidateArgs, session: &mut Session) -> Ended {
    let job = args.file.read(session)?;
    match session.client.put("/v1/validate/job", &[], &body(&job)?) {
        Ok(answer) => {
            let errors: Vec<_> =
                answer.list("ValidationErrors").iter().filter_map(Value::as_str).collect();
            if !errors.is_empty() || !answer.text("Error").is_empty() {
                let told = if errors.is_empty() { vec![answer.text("Error")] } else { errors };
                let told = told.join("\n  * ");
                return Err(Failure::new(format!("Job validation errors:\n  * {told}")));
            }
            warn(session, &answer);
        }
        Err(Refusal::Unreachable { .. }) => {
            session.terminal.complain("No agent could be reached: the file was checked here only.");
        }
        Err(refusal) => return Err(error("validating job")(refusal)),
    }
    session.terminal.line("Job validation successful");
    Ok(Exit::Done)
}

#[derive(Args, Debug)]
pub(crate) struct InitArgs {
    #[arg(long, help = "The bare job, without explanations")]
    short: bool,
    #[arg(value_name = "FILE", default_value = "example.nomad.hcl", help = "Where to write it")]
    file: PathBuf,
}

pub(crate) fn init(args: &InitArgs, terminal: Terminal) -> Ended {
    let text = jobspec::job_init(if args.short { Example::Short } else { Example::Explained });
    write_new(&args.file, text)?;
    terminal.line(&format!("Example job file written to {}", args.file.display()));
    Ok(Exit::Done)
}

/// Writes a file that is not there yet.
pub(crate) fn write_new(path: &Path, text: &str) -> Result<(), Failure> {
    let name = path.display();
    let opened = OpenOptions::new().write(true).create_new(true).open(path);
    opened.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|why| {
        Failure::new(match why.kind() {
            ErrorKind::AlreadyExists => {
                format!("Error writing {name}: the file exists already; name another one")
            }
            _ => format!("Error writing {name}: {why}"),
        })
    })
}

#[derive(Args, Debug)]
pub(crate) struct InspectArgs {
    #[arg(value_name = "JOB", help = "The job, or the beginning of its id")]
    job: String,
    #[arg(long, value_name = "N", help = "This version of it instead of the newest")]
    version: Option<i64>,
    #[command(flatten)]
    format: crate::args::Format,
}

pub(crate) fn inspect(args: &InspectArgs, session: &mut Session) -> Ended {
    args.format.check()?;
    let found = session.find_job(&args.job)?;
    let namespace = [("namespace", found.namespace.as_str())];
    let Some(wanted) = args.version else {
        let job = session.client.get(&found.path(""), &namespace);
        let job = job.map_err(error("inspecting job"))?;
        return session.print_json(&json!({ "Job": job }));
    };
    let versions = session.client.get(&found.path("/versions"), &namespace);
    let versions = versions.map_err(error("inspecting job"))?;
    let job = versions.list("Versions").iter().find(|job| job.int("Version") == wanted);
    let job = job.ok_or_else(|| {
        Failure::new(format!("Job \"{}\" has no version {wanted} any more", found.id))
    })?;
    session.print_json(&json!({ "Job": job }))
}
