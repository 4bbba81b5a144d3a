//! A small S3 of buckets and objects in memory whose habits can be set: those of real backends where they differ.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest as _, Md5};
use percent_encoding::percent_decode_str;

use super::server::{Peer, Seen, Server};

/// What it does differently from S3; the default is S3.
#[derive(Clone, Debug, Default)]
pub(super) struct Habits {
    /// Forms (`x-amz-content-sha256`) whose short bodies are stored.
    pub(super) keeps_short: Vec<&'static str>,
    /// Forms that are refused.
    pub(super) refuses: Vec<&'static str>,
    pub(super) ignores_trailers: bool,
    pub(super) ignores_conditions: bool,
    pub(super) ignores_copy_sources: bool,
    pub(super) ignores_copy_conditions: bool,
    /// A copy is stored as what it looks like without its header: an object of no bytes.
    pub(super) knows_no_copies: bool,
    pub(super) ignores_suffixes: bool,
    pub(super) ignores_md5: bool,
    pub(super) loses_objects: bool,
    /// Buckets that others own: they exist and are not listed.
    pub(super) foreign: Vec<&'static str>,
    /// Answers to GET of a subresource of a bucket.
    pub(super) subresources: BTreeMap<&'static str, (u16, &'static str)>,
    /// Of these, those whose DELETE deletes the whole bucket or object.
    pub(super) deletes_all: Vec<&'static str>,
    /// `DELETE ?tagging` of an object deletes it.
    pub(super) loses_tagged: bool,
    /// No bucket but the system's can be made.
    pub(super) one_bucket: bool,
    /// Every page of a listing says that the first one follows.
    pub(super) lists_in_circles: bool,
    /// Names are those of a file system: empty parts, `.` and `..` are gone.
    pub(super) folds_names: bool,
    /// Backslashes are slashes.
    pub(super) folds_backslashes: bool,
    /// Listings show names that were not asked for.
    pub(super) lists_others: bool,
}

pub(super) const TRAILER: &str = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";
pub(super) const SIGNED: &str = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD";
pub(super) const PLAIN: &str = "UNSIGNED-PAYLOAD";

#[derive(Default)]
pub(super) struct Store {
    habits: Habits,
    pub(super) buckets: BTreeSet<String>,
    /// By `bucket/key`.
    pub(super) objects: BTreeMap<String, Vec<u8>>,
}

pub(super) struct Fake {
    pub(super) server: Server,
    pub(super) store: Arc<Mutex<Store>>,
}

type Answer = (u16, String, Vec<u8>);

impl Fake {
    pub(super) async fn start(habits: Habits) -> Self {
        let store = Arc::new(Mutex::new(Store { habits, ..Store::default() }));
        let shared = store.clone();
        let server = Server::start(move |mut peer: Peer| {
            let store = shared.clone();
            async move {
                while let Some(mut seen) = peer.head().await {
                    peer.body(&mut seen).await;
                    peer.remember(seen.clone());
                    let (status, headers, body) = store.lock().unwrap().answer(&seen);
                    if !seen.complete {
                        return;
                    }
                    let length = body.len();
                    peer.say(&format!("HTTP/1.1 {status} X\r\n{headers}Content-Length: {length}\r\n\r\n"))
                        .await;
                    if !seen.line().starts_with("HEAD") {
                        use tokio::io::AsyncWriteExt;
                        let _ = peer.stream.write_all(&body).await;
                    }
                }
            }
        })
        .await;
        Self { server, store }
    }
}

fn folded(path: &str) -> String {
    let mut parts = Vec::<&str>::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

fn error(status: u16, code: &str) -> Answer {
    (status, String::new(), format!("<Error><Code>{code}</Code></Error>").into_bytes())
}

fn ok(body: impl Into<Vec<u8>>) -> Answer {
    (200, String::new(), body.into())
}

fn etag(body: &[u8]) -> String {
    format!("\"{}\"", hex::encode(Md5::digest(body)))
}

impl Store {
    fn answer(&mut self, seen: &Seen) -> Answer {
        let mut line = seen.line().split(' ');
        let (method, target) = (line.next().unwrap(), line.next().unwrap());
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let path = percent_decode_str(&path[1..]).decode_utf8().unwrap().into_owned();
        let path = if self.habits.folds_backslashes { path.replace('\\', "/") } else { path };
        let path = if self.habits.folds_names { folded(&path) } else { path };
        match (method, path.split_once('/')) {
            ("GET", None) if path.is_empty() => self.list_buckets(),
            ("PUT", None) => self.make_bucket(&path),
            ("HEAD", None) => {
                if self.buckets.contains(&path) {
                    ok("")
                } else {
                    error(404, "NoSuchBucket")
                }
            }
            ("GET", None) if query.contains("list-type") => self.list(&path, query),
            ("GET", None) => {
                let name = query.split('=').next().unwrap();
                match self.habits.subresources.get(name) {
                    Some((status, body)) => (*status, String::new(), body.as_bytes().to_vec()),
                    None => error(501, "NotImplemented"),
                }
            }
            ("PUT", Some(_))
                if seen.header("x-amz-copy-source").is_some() && !self.habits.knows_no_copies =>
            {
                self.copy(path, seen)
            }
            ("PUT", Some(_)) => self.put(path, seen),
            ("GET", Some(_)) => self.get(&path, seen),
            ("DELETE", None) => {
                let name = query.split('=').next().unwrap();
                if name.is_empty() || self.habits.deletes_all.contains(&name) {
                    self.buckets.remove(&path);
                }
                (204, String::new(), Vec::new())
            }
            ("DELETE", Some(_)) if query.starts_with("tagging") && !self.habits.loses_tagged => {
                (204, String::new(), Vec::new())
            }
            ("DELETE", Some(_)) => self.delete(&path, seen),
            ("HEAD", Some(_)) => {
                if self.objects.contains_key(&path) {
                    ok("")
                } else {
                    error(404, "NoSuchKey")
                }
            }
            _ => error(501, "NotImplemented"),
        }
    }

    fn list_buckets(&self) -> Answer {
        let names: String =
            self.buckets.iter().map(|b| format!("<Bucket><Name>{b}</Name></Bucket>")).collect();
        ok(format!("<ListAllMyBucketsResult><Buckets>{names}</Buckets></ListAllMyBucketsResult>"))
    }

    fn make_bucket(&mut self, name: &str) -> Answer {
        if self.habits.one_bucket && name != "s3cloak-system" {
            return error(400, "TooManyBuckets");
        }
        if self.habits.foreign.contains(&name) {
            return error(409, "BucketAlreadyExists");
        }
        self.buckets.insert(name.to_owned());
        ok("")
    }

    /// Two names a page.
    fn list(&self, bucket: &str, query: &str) -> Answer {
        let parameter = |name: &str| {
            let value = query.split('&').find_map(|p| p.strip_prefix(name)?.strip_prefix('='));
            percent_decode_str(value.unwrap_or_default()).decode_utf8().unwrap().into_owned()
        };
        let (prefix, after) = (parameter("prefix"), parameter("continuation-token"));
        let start = format!("{bucket}/");
        let names: Vec<&str> = self.objects.keys().filter_map(|k| k.strip_prefix(&start)).collect();
        let asked = |key: &str| self.habits.lists_others || key.starts_with(&prefix);
        let mut left = names.into_iter().filter(|k| asked(k) && *k > after.as_str()).peekable();
        let page: Vec<&str> = left.by_ref().take(2).collect();
        let keys: String = page.iter().map(|k| format!("<Contents><Key>{k}</Key></Contents>")).collect();
        let circles = self.habits.lists_in_circles;
        let next = match left.peek() {
            _ if circles => "<NextContinuationToken>!</NextContinuationToken>".to_owned(),
            Some(_) => format!("<NextContinuationToken>{}</NextContinuationToken>", page.last().unwrap()),
            None => String::new(),
        };
        let truncated = circles || left.peek().is_some();
        ok(format!("<ListBucketResult>{keys}<IsTruncated>{truncated}</IsTruncated>{next}</ListBucketResult>"))
    }

    fn put(&mut self, path: String, seen: &Seen) -> Answer {
        let form = seen.header("x-amz-content-sha256").unwrap();
        if self.habits.refuses.contains(&form) {
            return error(400, "XAmzContentSHA256Mismatch");
        }
        if !seen.complete && !self.habits.keeps_short.contains(&form) {
            return error(400, "IncompleteBody");
        }
        let (body, trailer) = if form.starts_with("STREAMING") {
            unframe(&seen.body)
        } else {
            (seen.body.clone(), String::new())
        };
        if seen.complete && form == TRAILER && !self.habits.ignores_trailers {
            let (name, value) = trailer.trim().split_once(':').unwrap();
            let sum = match name {
                "x-amz-checksum-crc64nvme" => {
                    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, &body).to_be_bytes().to_vec()
                }
                "x-amz-checksum-crc32" => crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32IsoHdlc, &body)
                    .to_be_bytes()[4..]
                    .to_vec(),
                _ => return error(400, "InvalidRequest"),
            };
            if value != STANDARD.encode(sum) {
                return error(400, "BadDigest");
            }
        }
        if let Some(sum) = seen.header("content-md5").filter(|_| !self.habits.ignores_md5)
            && sum != STANDARD.encode(Md5::digest(&body))
        {
            return error(400, "BadDigest");
        }
        if !self.condition_holds(&path, seen) {
            return error(412, "PreconditionFailed");
        }
        let tag = etag(&body);
        if !self.habits.loses_objects {
            self.objects.insert(path, body);
        }
        (200, format!("ETag: {tag}\r\n"), Vec::new())
    }

    fn copy(&mut self, path: String, seen: &Seen) -> Answer {
        let source = percent_decode_str(seen.header("x-amz-copy-source").unwrap()).decode_utf8().unwrap();
        let Some(body) = self.objects.get(source.as_ref()).cloned() else { return error(404, "NoSuchKey") };
        let pinned = seen.header("x-amz-copy-source-if-match").filter(|_| !self.habits.ignores_copy_sources);
        let holds = self.habits.ignores_copy_conditions || self.condition_holds(&path, seen);
        if pinned.is_some_and(|pin| pin != etag(&body)) || !holds {
            return error(412, "PreconditionFailed");
        }
        let tag = etag(&body);
        self.objects.insert(path, body);
        ok(format!("<CopyObjectResult><ETag>{tag}</ETag></CopyObjectResult>"))
    }

    fn condition_holds(&self, path: &str, seen: &Seen) -> bool {
        let current = self.objects.get(path).map(|body| etag(body));
        self.habits.ignores_conditions
            || !(seen.header("if-none-match") == Some("*") && current.is_some())
                && seen.header("if-match").is_none_or(|tag| Some(tag) == current.as_deref())
    }

    fn get(&self, path: &str, seen: &Seen) -> Answer {
        let Some(body) = self.objects.get(path) else { return error(404, "NoSuchKey") };
        let suffix =
            seen.header("range").and_then(|r| r.strip_prefix("bytes=-")).map(|n| n.parse::<usize>().unwrap());
        match suffix.filter(|_| !self.habits.ignores_suffixes) {
            Some(_) if body.is_empty() => error(416, "InvalidRange"),
            Some(n) => (206, String::new(), body[body.len().saturating_sub(n)..].to_vec()),
            None => ok(body.clone()),
        }
    }

    fn delete(&mut self, path: &str, seen: &Seen) -> Answer {
        if !self.condition_holds(path, seen) {
            return error(412, "PreconditionFailed");
        }
        self.objects.remove(path);
        (204, String::new(), Vec::new())
    }
}

/// Reads as much of an aws-chunked body as there is; gives what follows the 0-chunk.
fn unframe(mut wire: &[u8]) -> (Vec<u8>, String) {
    let mut body = Vec::new();
    while let Some(end) = wire.windows(2).position(|w| w == b"\r\n") {
        let line = std::str::from_utf8(&wire[..end]).unwrap();
        let length = usize::from_str_radix(line.split(';').next().unwrap(), 16).unwrap();
        wire = &wire[end + 2..];
        if length == 0 {
            return (body, String::from_utf8(wire.to_vec()).unwrap());
        }
        body.extend_from_slice(&wire[..length.min(wire.len())]);
        wire = wire.get(length + 2..).unwrap_or_default();
    }
    (body, String::new())
}
