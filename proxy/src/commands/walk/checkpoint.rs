//! How far a walk got, in a file: the key behind which it goes on, and what was counted up to there. It holds names of
//! objects and no secrets.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::{Failure, Place, Report};

/// The file's own shape.
const FORMAT: u32 = 1;

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    format: u32,
    task: String,
    bucket: String,
    /// base64, as keys are bytes.
    prefix: String,
    after: String,
    counts: BTreeMap<String, u64>,
    failed: u64,
}

/// A walk's own idea of how far it got.
#[derive(Debug)]
pub(super) struct Checkpoint {
    file: Option<PathBuf>,
    task: String,
    place: Place,
    pub(super) after: Option<Vec<u8>>,
    pub(super) report: Report,
}

impl Checkpoint {
    /// Begins, or goes on where the file says.
    pub(super) fn open(file: Option<&Path>, task: &str, place: &Place) -> Result<Self, Failure> {
        let mut fresh = Self {
            file: file.map(Path::to_path_buf),
            task: task.to_owned(),
            place: place.clone(),
            after: None,
            report: Report::default(),
        };
        let Some(file) = file else { return Ok(fresh) };
        let text = match std::fs::read(file) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(fresh),
            Err(error) => return Err(Failure::Failed(format!("{}: {error}", file.display()))),
        };
        let unusable = |why: &str| {
            Failure::Usage(format!(
                "{}: {why}; name another file, or delete it to begin anew",
                file.display()
            ))
        };
        let kept: Kept =
            serde_json::from_slice(&text).map_err(|_| unusable("this is no checkpoint that can be read"))?;
        let place = (kept.bucket.as_str(), STANDARD.decode(&kept.prefix).ok());
        if kept.format != FORMAT {
            return Err(unusable("this is a checkpoint of another release"));
        }
        if kept.task != fresh.task || place != (fresh.place.bucket.as_str(), Some(fresh.place.prefix.clone()))
        {
            return Err(unusable("this is the checkpoint of another task"));
        }
        let after = STANDARD.decode(&kept.after).map_err(|_| unusable("its key cannot be read"))?;
        fresh.after = Some(after);
        fresh.report = Report { counts: kept.counts, failed: kept.failed };
        Ok(fresh)
    }

    /// Everything up to this key is done.
    pub(super) fn reach(&mut self, key: Vec<u8>) -> Result<(), Failure> {
        if let Some(file) = &self.file {
            let kept = Kept {
                format: FORMAT,
                task: self.task.clone(),
                bucket: self.place.bucket.as_str().to_owned(),
                prefix: STANDARD.encode(&self.place.prefix),
                after: STANDARD.encode(&key),
                counts: self.report.counts.clone(),
                failed: self.report.failed,
            };
            write(file, &kept).map_err(|error| Failure::Failed(format!("{}: {error}", file.display())))?;
        }
        self.after = Some(key);
        Ok(())
    }

    /// The walk is over: there is nothing to go on with.
    pub(super) fn close(self) -> Result<Report, Failure> {
        if let Some(file) = &self.file {
            match std::fs::remove_file(file) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(Failure::Failed(format!("{}: {error}", file.display())));
                }
                _ => {}
            }
        }
        Ok(self.report)
    }
}

/// Whole or not at all: another file takes its place.
fn write(file: &Path, kept: &Kept) -> std::io::Result<()> {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = file.with_file_name(name);
    std::fs::write(&new, serde_json::to_vec_pretty(kept)?)?;
    std::fs::rename(new, file)
}
