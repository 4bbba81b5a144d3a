//! The audit log: one JSON line for each request, saying who asked for what, which keys it used and what came of it.
//! KES keeps no record of data keys in use, so this is the only one. Never a secret: no header, query or signature.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::task::JoinHandle;

use crate::error::{Code, Error};
use crate::keys::ResolvedKey;
use crate::metrics::Denial;

/// Keys noted of one request; a listing may touch more, and then says so.
const MOST_KEYS: usize = 16;

tokio::task_local! {
    static TRAIL: Trail;
}

/// What has come to be known of one request while it was worked on.
#[derive(Clone, Debug, Default)]
pub struct Trail(Arc<Mutex<Noted>>);

#[derive(Debug, Default)]
struct Noted {
    keys: BTreeSet<String>,
    /// Who sent a form, and its object's name: its head does not tell.
    form: Option<(String, String)>,
}

impl Trail {
    /// Runs a request's work; [`note_key`] within its task adds to this trail.
    pub async fn follow<T>(&self, work: impl Future<Output = T>) -> T {
        TRAIL.scope(self.clone(), work).await
    }

    fn keys(&self) -> Vec<String> {
        let noted = &self.0.lock().keys;
        let mut keys: Vec<_> = noted.iter().take(MOST_KEYS).cloned().collect();
        if noted.len() > MOST_KEYS {
            keys.push("...".to_owned());
        }
        keys
    }

    /// Access key and object name of a form, once they are known.
    pub fn form(&self) -> Option<(String, String)> {
        self.0.lock().form.clone()
    }
}

/// Says that the request under way asked for a data key of `key`, whether it got one or not. Nothing where no audit is kept.
pub fn note_key(key: &ResolvedKey) {
    let _ = TRAIL.try_with(|trail| {
        let noted = &mut trail.0.lock().keys;
        if noted.len() <= MOST_KEYS {
            noted.insert(key.to_string());
        }
    });
}

/// Says who sent the form of the request under way, and what they call its object.
pub fn note_form(access_key: &str, object: &str) {
    let _ = TRAIL.try_with(|trail| {
        trail.0.lock().form = Some((access_key.to_owned(), object.to_owned()));
    });
}

/// Runs work of the request under way in a task of its own, which a client that goes away does not end; the keys that it
/// uses are noted of that request all the same.
pub fn spawn<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
    match TRAIL.try_with(Trail::clone) {
        Ok(trail) => tokio::spawn(async move { trail.follow(work).await }),
        Err(_) => tokio::spawn(work),
    }
}

/// One request, finished.
pub struct Entry<'a> {
    /// As the client got it.
    pub request_id: &'a str,
    /// Address of the client's connection.
    pub from: Option<String>,
    /// The access key, or `anonymous`; of a request whose signature did not hold, the one that it claimed.
    pub who: Option<&'a str>,
    /// AWS's name of the operation.
    pub operation: &'static str,
    /// The bucket.
    pub bucket: Option<&'a str>,
    /// The object.
    pub object: Option<&'a str>,
    /// The keys.
    pub keys: &'a Trail,
    /// HTTP status that went out.
    pub status: Option<u16>,
    /// Why it failed.
    pub failure: Option<&'a Error>,
    /// How far it came.
    pub reached: Stage,
}

/// How far a request came.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stage {
    /// It is no S3 request.
    Parsing,
    /// It is not known who asks.
    Verification,
    /// It was worked on.
    Handling,
}

impl Entry<'_> {
    /// Whether the one who asks was denied something, and why. What is no S3 request was not asked by anybody.
    pub fn denial(&self) -> Option<Denial> {
        let code = self.failure.map(Error::code);
        match (self.reached, code) {
            (Stage::Verification, _) => Some(Denial::Authentication),
            // A form says who sent it only in its body.
            (
                Stage::Handling,
                Some(Code::SignatureDoesNotMatch | Code::InvalidAccessKeyId | Code::InvalidToken),
            ) => Some(Denial::Authentication),
            (Stage::Handling, Some(Code::AccessDenied)) => Some(Denial::Access),
            (Stage::Parsing | Stage::Handling, _) => None,
        }
    }

    /// `allowed`: it was carried out, or at least tried. `denied`: who asks may not, is not known, or asked nothing.
    fn decision(&self) -> &'static str {
        if self.reached == Stage::Parsing || self.denial().is_some() { "denied" } else { "allowed" }
    }
}

/// Where the lines go.
#[derive(Debug)]
pub struct Audit(Mutex<File>);

impl Audit {
    /// Appends to the file at `path`, which is made if absent, readable by its owner and group; or to `/dev/stdout` and
    /// `/dev/stderr` as this process was given them: those of a container may be somebody else's, and those of a unit are
    /// sockets, and neither can be opened by name.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn open(path: &Path) -> std::io::Result<Self> {
        let given = match path.to_str() {
            Some("/dev/stdout") => Some(std::io::stdout().as_fd().try_clone_to_owned()?),
            Some("/dev/stderr") => Some(std::io::stderr().as_fd().try_clone_to_owned()?),
            _ => None,
        };
        if let Some(given) = given {
            return Ok(Self(Mutex::new(given.into())));
        }
        let mut options = OpenOptions::new();
        options.create(true).append(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o640);
        Ok(Self(Mutex::new(options.open(path)?)))
    }

    /// Writes one line. A disk that takes none is reported, and does not stop the service.
    pub fn write(&self, entry: &Entry<'_>) {
        let mut line = json!({
            "time": OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default(),
            "request_id": entry.request_id,
            "from": entry.from,
            "who": entry.who,
            "operation": entry.operation,
            "bucket": entry.bucket,
            "object": entry.object,
            "keys": entry.keys.keys(),
            "decision": entry.decision(),
            "status": entry.status,
            "error": entry.failure.map(|e| e.code().name()),
            "blame": entry.failure.map(|e| e.blame().as_str()),
        })
        .to_string();
        line.push('\n');
        // In one piece: lines of several processes in one file do not mix.
        if let Err(error) = self.0.lock().write_all(line.as_bytes()) {
            tracing::error!(alert = true, request_id = entry.request_id, %error, "the audit log takes no line");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry<'a>(keys: &'a Trail, failure: Option<&'a Error>) -> Entry<'a> {
        Entry {
            request_id: "0123456789ABCDEF",
            from: Some("127.0.0.1:5".into()),
            who: Some("client"),
            operation: "PutObject",
            bucket: Some("photos"),
            object: Some("line\nbreak"),
            keys,
            status: Some(200),
            failure,
            reached: Stage::Handling,
        }
    }

    #[tokio::test]
    async fn a_line_tells_keys_and_decision() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("audit.log");
        let audit = Audit::open(&file).unwrap();
        let key =
            |name| ResolvedKey { service: "main".into(), name: kms_client::KeyName::new(name).unwrap() };
        note_key(&key("outside"));
        let trail = Trail::default();
        trail.follow(async { note_key(&key("photos-key")) }).await;
        audit.write(&entry(&trail, None));
        audit.write(&entry(&Trail::default(), Some(&Error::client(Code::AccessDenied, ""))));
        let text = std::fs::read_to_string(&file).unwrap();
        let lines: Vec<serde_json::Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert_eq!(lines[0]["keys"], json!(["main/photos-key"]));
        assert_eq!(lines[0]["decision"], "allowed");
        assert_eq!(lines[0]["object"], "line\nbreak");
        assert_eq!((&lines[1]["decision"], &lines[1]["error"]), (&json!("denied"), &json!("AccessDenied")));
        assert_eq!(lines[1]["keys"], json!([]));
    }

    #[tokio::test]
    async fn a_task_of_its_own_notes_keys_of_its_request() {
        let key =
            |name| ResolvedKey { service: "main".into(), name: kms_client::KeyName::new(name).unwrap() };
        let trail = Trail::default();
        trail.follow(async { spawn(async move { note_key(&key("inside")) }).await.unwrap() }).await;
        spawn(async move { note_key(&key("of-nobody")) }).await.unwrap();
        assert_eq!(trail.keys(), ["main/inside"]);
    }

    #[tokio::test]
    async fn a_request_with_many_keys_has_a_short_line() {
        let trail = Trail::default();
        trail
            .follow(async {
                for at in 0..100 {
                    let name = kms_client::KeyName::new(format!("key{at}").as_str()).unwrap();
                    note_key(&ResolvedKey { service: "main".into(), name });
                }
            })
            .await;
        let keys = trail.keys();
        assert_eq!((keys.len(), keys[MOST_KEYS].as_str()), (MOST_KEYS + 1, "..."));
    }

    #[test]
    fn what_cannot_be_written_is_refused_at_start() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Audit::open(folder.path()).is_err());
    }
}
