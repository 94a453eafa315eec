//! What is measured, from the command line.
use crate::contender::Contender;

/// What to do.
#[derive(Clone, Debug)]
pub struct Options {
    pub(crate) contenders: Vec<Contender>,
    pub(crate) batches: Vec<u64>,
    pub(crate) payloads: Vec<usize>,
    pub(crate) rounds: usize,
    pub(crate) round_ms: u64,
    /// Only run so many batches after the logs are full, and print nothing: for a profiler.
    pub(crate) exactly: Option<u64>,
    pub(crate) instructions: Instructions,
}

/// Whether instructions are counted too.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Instructions {
    Uncounted,
    Counted,
}

/// How it is used.
pub(crate) const USAGE: &str = "\
cargo bench --manifest-path tests/peers/Cargo.toml --bench raft -- [options]
  --only NAME,..      contenders (all of them)
  --batch N,..        entries proposed together (1,64,1024)
  --payload N,..      bytes of an entry (256; also measured elsewhere: 16,1024)
  --rounds N          interleaved rounds, of which the median counts (7)
  --round-ms N        processor time of a round (150)
  --instructions      also count instructions, with valgrind
  --exactly N         fill the logs, run N batches, print nothing: for a profiler";

impl Options {
    /// Reads them.
    ///
    /// # Errors
    /// What is wrong with them, in words.
    pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            contenders: Contender::ALL.to_vec(),
            batches: vec![1, 64, 1024],
            payloads: vec![256],
            rounds: 7,
            round_ms: 150,
            exactly: None,
            instructions: Instructions::Uncounted,
        };
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
            match argument.as_str() {
                // Cargo itself adds this one.
                "--bench" => (),
                "--only" => options.contenders = list(&value()?, contender)?,
                "--batch" => options.batches = list(&value()?, number)?,
                "--payload" => options.payloads = list(&value()?, number)?,
                "--rounds" => options.rounds = number(&value()?)?,
                "--round-ms" => options.round_ms = number(&value()?)?,
                "--exactly" => options.exactly = Some(number(&value()?)?),
                "--instructions" => options.instructions = Instructions::Counted,
                _ => return Err(format!("there is no {argument}")),
            }
        }
        let is_sound = 0 < options.rounds && !options.batches.contains(&0);
        if is_sound { Ok(options) } else { Err("there is no measurement of nothing".into()) }
    }
}

fn list<T>(words: &str, read: fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
    words.split(',').map(read).collect()
}

fn number<T: std::str::FromStr>(word: &str) -> Result<T, String> {
    word.parse().map_err(|_| format!("{word:?} is no number"))
}

fn contender(name: &str) -> Result<Contender, String> {
    let found = Contender::ALL.into_iter().find(|contender| contender.name() == name);
    found.ok_or_else(|| {
        let names: Vec<_> = Contender::ALL.iter().map(|contender| contender.name()).collect();
        format!("there is no {name:?}; there are: {}", names.join(", "))
    })
}
