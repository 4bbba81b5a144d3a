//! A tree of many small files, and the clients that people synchronise one with: up, again with nothing to do, and down.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use crate::Failure;
use crate::sign::Endpoint;

/// Files of one folder.
const FOLDER: usize = 100;
/// Sizes go round below this.
const LARGEST: usize = 8 << 10;

/// A program that synchronises.
#[derive(Clone, Copy, Debug)]
pub(super) enum Client {
    Rclone,
    Aws,
}

/// What it does.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    Up,
    Again,
    Down,
}

impl Step {
    pub(super) const ALL: [Self; 3] = [Self::Up, Self::Again, Self::Down];

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Again => "again",
            Self::Down => "down",
        }
    }
}

/// Makes the tree below `folder`.
pub(super) fn make(folder: &Path, files: usize) -> Result<(), Failure> {
    // Times on the storage count whole seconds: a file of this moment could look newer than its upload.
    let modified = SystemTime::now() - Duration::from_secs(60);
    for number in 0..files {
        let place = folder.join("tree").join(format!("{:03}", number / FOLDER));
        fs::create_dir_all(&place)?;
        let path = place.join(format!("{number:05}"));
        let content: Vec<u8> = (0..number * 37 % LARGEST).map(|at| (at * 7 + number) as u8).collect();
        fs::write(&path, content)?;
        File::options().write(true).open(&path)?.set_modified(modified)?;
    }
    Ok(())
}

impl Client {
    pub(super) const ALL: [Self; 2] = [Self::Rclone, Self::Aws];

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Rclone => "rclone sync of",
            Self::Aws => "aws s3 sync of",
        }
    }

    /// Runs one step and tells how many seconds it took.
    pub(super) fn run(
        self,
        step: Step,
        folder: &Path,
        endpoint: &Endpoint,
        bucket: &str,
    ) -> Result<f64, Failure> {
        let tree = folder.join("tree");
        let back = folder.join("back");
        let mut command = match self {
            Self::Rclone => rclone(endpoint),
            Self::Aws => aws(folder, endpoint),
        };
        let there = match self {
            Self::Rclone => format!("there:{bucket}/tree-rclone"),
            Self::Aws => format!("s3://{bucket}/tree-aws"),
        };
        match step {
            Step::Up | Step::Again => command.arg(&tree).arg(&there),
            Step::Down => command.arg(&there).arg(&back),
        };
        let started = Instant::now();
        let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{self:?}: {error}"))?;
        let seconds = started.elapsed().as_secs_f64();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        if !output.status.success() {
            return Err(format!("{self:?}, {}: {said}", step.title()).into());
        }
        if let Step::Down = step {
            let (sent, came) = (count(&tree)?, count(&back)?);
            fs::remove_dir_all(&back)?;
            if sent != came {
                return Err(format!("{self:?}: {came:?} files and bytes came back of {sent:?}").into());
            }
        }
        Ok(seconds)
    }
}

/// Everything from the environment, nothing from whoever runs this. ETags of an in-memory backend are no MD5s, and those of
/// an opaque bucket are not meant to be.
fn rclone(endpoint: &Endpoint) -> Command {
    let mut command = Command::new("rclone");
    command
        .args(["--config", "/dev/null", "--ignore-checksum", "--transfers", "16", "--checkers", "16", "sync"])
        .env("RCLONE_CONFIG_THERE_TYPE", "s3")
        .env("RCLONE_CONFIG_THERE_PROVIDER", "Other")
        .env("RCLONE_CONFIG_THERE_REGION", "us-east-1")
        .env("RCLONE_CONFIG_THERE_ENDPOINT", format!("http://{}", endpoint.address))
        .env("RCLONE_CONFIG_THERE_ACCESS_KEY_ID", &endpoint.access_key)
        .env("RCLONE_CONFIG_THERE_SECRET_ACCESS_KEY", &endpoint.secret_key);
    command
}

fn aws(folder: &Path, endpoint: &Endpoint) -> Command {
    let mut command = Command::new("aws");
    command
        .args(["--endpoint-url", &format!("http://{}", endpoint.address), "s3", "sync", "--only-show-errors"])
        .env("AWS_ACCESS_KEY_ID", &endpoint.access_key)
        .env("AWS_SECRET_ACCESS_KEY", &endpoint.secret_key)
        .env("AWS_DEFAULT_REGION", "us-east-1")
        .env("AWS_CONFIG_FILE", folder.join("none"))
        .env("AWS_SHARED_CREDENTIALS_FILE", folder.join("none"))
        .env("AWS_EC2_METADATA_DISABLED", "true");
    command
}

/// Files and bytes below a folder.
fn count(folder: &Path) -> Result<(u64, u64), Failure> {
    let (mut files, mut bytes) = (0, 0);
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (more, size) =
            if entry.file_type()?.is_dir() { count(&entry.path())? } else { (1, entry.metadata()?.len()) };
        files += more;
        bytes += size;
    }
    Ok((files, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_has_its_files() {
        let folder = tempfile::tempdir().unwrap();
        make(folder.path(), 250).unwrap();
        let bytes: u64 = (0..250).map(|number| (number * 37 % LARGEST) as u64).sum();
        assert_eq!(count(&folder.path().join("tree")).unwrap(), (250, bytes));
        assert!(folder.path().join("tree/002/00249").exists());
    }

    #[test]
    fn a_client_that_is_not_there_or_fails_ends_the_run() {
        let folder = tempfile::tempdir().unwrap();
        make(folder.path(), 1).unwrap();
        let endpoint = Endpoint {
            address: "127.0.0.1:1".to_owned(),
            access_key: "a".to_owned(),
            secret_key: "b".to_owned(),
        };
        assert!(Client::Aws.run(Step::Up, folder.path(), &endpoint, "bucket").is_err());
    }
}
