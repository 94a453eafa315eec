//! Reads one segment of an input log, record by record.
//!
//! Invariants
//! - a record that was cut off at the end of the file is no damage: the writer may be gone;
//! - whatever else is wrong is said with the place in the file.
use std::fs::File;
use std::io::{self, BufReader, Read as _};
use std::path::Path;

use serde::Deserialize;

use super::{MAGIC, Start};

/// Longest record that is accepted: an input that holds a whole snapshot.
const RECORD_BYTES_MAX: usize = 1 << 30;

/// See the module.
#[derive(Debug)]
pub struct Reader {
    file: BufReader<File>,
    /// Bytes read.
    at: u64,
    /// Bytes left over at the end that are no whole record.
    torn_bytes: u64,
}

impl Reader {
    /// Opens a segment and reads where it starts.
    ///
    /// # Errors
    /// When it cannot be read or is not an input log of this version.
    pub fn open(path: &Path) -> io::Result<(Self, Start)> {
        let mut file = BufReader::with_capacity(256 << 10, File::open(path)?);
        let mut magic = [0; 8];
        let read = file.read_exact(&mut magic);
        if read.is_err() || &magic != MAGIC {
            return Err(bad("this is not an input log of this version of Drover"));
        }
        let mut reader = Self { file, at: MAGIC.len() as u64, torn_bytes: 0 };
        let start = reader.read_next()?.ok_or_else(|| bad("the log ends before it starts"))?;
        Ok((reader, start))
    }

    /// The next record; `None` at the end, and where the writer was cut off.
    ///
    /// # Errors
    /// When the file cannot be read or a whole record does not decode.
    pub fn read_next<T: for<'de> Deserialize<'de>>(&mut self) -> io::Result<Option<T>> {
        let at = self.at;
        let Some(bytes) = self.read_bytes()? else { return Ok(None) };
        postcard::from_bytes(&bytes)
            .map(Some)
            .map_err(|fault| bad(&format!("the record at byte {at} does not decode: {fault}")))
    }

    /// The next record as it is.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read_bytes(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut length = [0; 4];
        if !self.fill(&mut length)? {
            return Ok(None);
        }
        let length = u32::from_le_bytes(length) as usize;
        if RECORD_BYTES_MAX < length {
            let at = self.at;
            return Err(bad(&format!("the record at byte {at} is impossibly long: it is damaged")));
        }
        let mut bytes = Vec::with_capacity(length.min(1 << 20));
        let read = (&mut self.file).take(length as u64).read_to_end(&mut bytes)?;
        if read < length {
            self.torn_bytes = 4 + read as u64;
            return Ok(None);
        }
        self.at += 4 + length as u64;
        Ok(Some(bytes))
    }

    /// Bytes at the end that are no whole record: what the process was writing when it went.
    #[must_use]
    pub const fn torn_bytes(&self) -> u64 {
        self.torn_bytes
    }

    fn fill(&mut self, into: &mut [u8]) -> io::Result<bool> {
        let mut filled = 0;
        while filled < into.len() {
            match self.file.read(&mut into[filled..]) {
                Ok(0) => {
                    self.torn_bytes = filled as u64;
                    return Ok(false);
                }
                Ok(read) => filled += read,
                Err(fault) if fault.kind() == io::ErrorKind::Interrupted => (),
                Err(fault) => return Err(fault),
            }
        }
        Ok(true)
    }
}

fn bad(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.to_owned())
}
