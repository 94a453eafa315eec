//! Job files: HCL2 or JSON in, a specification out, or every reason why not.
//!
//! The way: `hcl_edit` parses, `eval` and `expand` evaluate, `decode` reads the blocks into the
//! API's job as written, `api::job` fills in defaults, `check` judges. The last two are the same for
//! files and for the API, so that both entrances hear the same.
//!
//! Invariants
//! - a file that is refused is refused with a place; all that is wrong is told at once where possible;
//! - nothing that is written is silently ignored;
//! - a file costs a bounded amount of work and memory, because servers evaluate files of strangers.
use std::path::Path;

use drover_core::types::JobSpec;

use crate::api::job::Job;

pub mod check;
mod decode;
pub mod diagnostic;
pub mod duration;
mod eval;
mod expand;
mod functions;
pub mod init;
pub(crate) mod reader;
mod scope;
mod template;
pub(crate) mod tree;
mod types;
pub(crate) mod value;
mod variables;
pub(crate) mod zones;

pub use check::{Problem, check};
pub use diagnostic::{Diagnostic, Diagnostics, Source};
pub use functions::Folder;
pub use init::{Example, job_init};
pub use variables::Inputs;

use diagnostic::{Dialect, Findings, nearest};
use eval::{Evaluator, Unbound};
use expand::Expander;

/// The largest job file (Nomad's `job_max_source_size`).
pub const SOURCE_BYTES_MAX: usize = 1 << 20;

/// What a job file says.
#[derive(Clone, Debug)]
pub struct JobFile {
    /// As it was written, without defaults: what clients of the API send.
    pub written: Job,
    /// With every default, and checked.
    pub spec: JobSpec,
}

impl Source {
    /// The file at `path`.
    ///
    /// # Errors
    /// That it cannot be read.
    pub fn read(path: &Path) -> Result<Self, Diagnostics> {
        let file = path.display().to_string();
        std::fs::read_to_string(path).map(|text| Self { file: file.clone(), text }).map_err(|why| {
            let source = Self { file, text: String::new() };
            source.whole(format!("cannot be read: {why}"), String::new()).into()
        })
    }
}

/// The job of an HCL file.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse_hcl(source: &Source, inputs: &Inputs) -> Result<JobFile, Diagnostics> {
    if SOURCE_BYTES_MAX < source.text.len() {
        return Err(source
            .whole(format!("is larger than {SOURCE_BYTES_MAX} bytes"), String::new())
            .into());
    }
    let body = hcl_edit::parser::parse_body(&source.text).map_err(|why| syntax(source, &why))?;
    let findings = Findings::new(source, Dialect::JobFile);
    let evaluator = Evaluator::new(source, &inputs.folder, Unbound::Kept);
    let expander = Expander::new(&evaluator, &findings);
    refuse_others(&body, &findings);
    let scope = variables::outermost(&body, inputs, &expander);
    let jobs: Vec<_> = body.get_blocks("job").collect();
    let written = match jobs[..] {
        [job] => decode::job(&expander.block(job, &scope), &findings),
        [] => {
            findings.wrong(
                0..0,
                "there is no job in this file".to_owned(),
                "write job \"NAME\" { ... }".to_owned(),
            );
            Job::default()
        }
        [_, second, ..] => {
            use hcl_edit::Span as _;
            let place = second.ident.span().unwrap_or_default();
            findings.wrong(
                place,
                "a file has one job".to_owned(),
                "move this one to a file of its own".to_owned(),
            );
            Job::default()
        }
    };
    let spec = judged(&written, &findings);
    if findings.any() { Err(findings.into_diagnostics()) } else { Ok(JobFile { written, spec }) }
}

/// The specification; what is wrong with it goes into `findings`, with its place.
fn judged(written: &Job, findings: &Findings<'_>) -> JobSpec {
    let (spec, mut problems) = written.converted();
    problems.extend(check(&spec));
    // What could not be read is missing now: that was told already, where it stands.
    let hollow = findings.any();
    for problem in problems {
        if hollow && !findings.is_placed(&problem.field) {
            continue;
        }
        let place = findings.place_of(&problem.field).or_else(|| findings.place_of(""));
        let last = problem.field.rsplit('.').next().unwrap_or_default();
        let message = if problem.why.starts_with('`') {
            problem.why
        } else {
            format!("`{last}`: {}", problem.why)
        };
        findings.wrong(place.unwrap_or_default(), message, String::new());
    }
    spec
}

/// The job of a JSON body or file: Nomad's API shape.
///
/// # Errors
/// Everything that is wrong with it; `field` is empty where the body cannot be read at all.
pub fn parse_json(body: &[u8]) -> Result<JobFile, Vec<Problem>> {
    let written = Job::decode(body).map_err(|why| vec![Problem { field: String::new(), why }])?;
    let spec = from_api(&written)?;
    Ok(JobFile { written, spec })
}

/// The checked specification of a job of the API.
///
/// # Errors
/// All its problems.
pub fn from_api(written: &Job) -> Result<JobSpec, Vec<Problem>> {
    let (spec, mut problems) = written.converted();
    problems.extend(check(&spec));
    if problems.is_empty() { Ok(spec) } else { Err(problems) }
}

/// The job in `source`, whichever of the two it is: JSON begins with a brace.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse(source: &Source, inputs: &Inputs) -> Result<JobFile, Diagnostics> {
    if !source.text.trim_start().starts_with('{') {
        return parse_hcl(source, inputs);
    }
    parse_json(source.text.as_bytes()).map_err(|problems| {
        let shown = |problem: &Problem| {
            let dot = if problem.field.is_empty() { "" } else { ": " };
            source.whole(format!("{}{dot}{}", problem.field, problem.why), String::new())
        };
        Diagnostics { list: problems.iter().map(shown).collect() }
    })
}

fn syntax(source: &Source, why: &hcl_edit::parser::Error) -> Diagnostics {
    let at = why.location().offset();
    source.find(at..at + 1, format!("this is not HCL: {}", why.message()), String::new()).into()
}

/// Only jobs and what they are made with may stand at the top of a file.
fn refuse_others(body: &hcl_edit::structure::Body, findings: &Findings<'_>) {
    use hcl_edit::Span as _;
    use hcl_edit::structure::Structure;
    const KNOWN: [&str; 4] = ["job", "variable", "variables", "locals"];
    for structure in body {
        let (name, place) = match structure {
            Structure::Attribute(one) => (one.key.as_str(), one.key.span()),
            Structure::Block(one) if KNOWN.contains(&one.ident.as_str()) => continue,
            Structure::Block(one) => (one.ident.as_str(), one.ident.span()),
        };
        let hint = nearest(name, KNOWN.into_iter()).map_or_else(
            || "a job file has the blocks job, variable and locals".to_owned(),
            |near| format!("did you mean `{near}`?"),
        );
        findings.wrong(place.unwrap_or_default(), format!("`{name}` is not known here"), hint);
    }
}
