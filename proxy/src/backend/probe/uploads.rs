//! Whether the backend's lists of uploads are what was asked for. Some know no delimiter, take a marker for a filter, or
//! refuse the markers that they give.

use bytes::Bytes;
use http::{Method, StatusCode};

use super::{Outgoing, Probe};
use crate::backend::profile::Profile;
use crate::error::Result;
use crate::s3::name::ObjectKey;
use crate::s3::xml::{BackendUploads, parse_backend_uploads, parse_initiated};

/// Keys of the uploads, below one of the probe's own: names that an encoding changes, two uploads of one key, and a group.
const KEYS: [&str; 4] = ["a b+c%20d", "e", "e", "f/g"];
/// Larger than any page of these.
const MAX_PAGE: usize = 64 * 1024;
/// More pages than these uploads can fill.
const MAX_PAGES: usize = 8;

/// An upload as it is expected in a list: key below the probe's own, and id.
type Place = (String, String);

impl Probe<'_> {
    pub(super) async fn lists_of_uploads(&mut self, profile: &mut Profile) -> Result<()> {
        let mut begun: Vec<Place> = Vec::new();
        for key in KEYS {
            if let Some(id) = self.begin(key).await? {
                begun.push((key.to_owned(), id));
            }
        }
        let fault = if begun.len() == KEYS.len() {
            self.fault_of_lists(&begun).await?
        } else {
            Some("takes no uploads")
        };
        for (key, id) in &begun {
            // What it leaves if this fails is small, and is named so that nobody takes it for anything else.
            self.send(self.upload_of(Method::DELETE, key)?.param("uploadId", id.as_str()), Bytes::new())
                .await?;
        }
        profile.lists_uploads = fault.is_none();
        let told = match fault {
            None => "prefix, delimiter, markers, page sizes and encoding are honoured".to_owned(),
            Some(fault) => format!("{fault}; lists are made here of all its uploads"),
        };
        self.note("ListMultipartUploads", profile.lists_uploads, told);
        Ok(())
    }

    /// `begun` is in order of the keys; uploads of one key may come in any order.
    async fn fault_of_lists(&self, begun: &[Place]) -> Result<Option<&'static str>> {
        let same = |mut seen: Vec<Place>, expected: &[Place]| {
            let (ordered, mut expected) = (seen.is_sorted_by_key(|(key, _)| key.clone()), expected.to_vec());
            seen.sort();
            expected.sort();
            ordered && seen == expected
        };
        let Some((whole, document)) = self.list_uploads(&[("encoding-type", "url")]).await? else {
            return Ok(Some("has no list of them"));
        };
        // Read as the document says, which need not be what it does.
        if !same(self.places(&whole), begun) || !document.contains("<EncodingType>url</EncodingType>") {
            return Ok(Some("its names are not encoded as it says, or not in order"));
        }
        let mut seen = Vec::new();
        let (mut key, mut id) = (String::new(), String::new());
        for _ in 0..MAX_PAGES {
            let mut query = vec![("max-uploads", "1")];
            if !key.is_empty() {
                query.extend([("key-marker", key.as_str()), ("upload-id-marker", id.as_str())]);
            }
            let Some((page, _)) = self.list_uploads(&query).await? else {
                return Ok(Some("refuses its own markers"));
            };
            if page.uploads.len() > 1 {
                return Ok(Some("gives more than was asked for"));
            }
            seen.extend(self.places(&page));
            let Some(next) = page.next else { break };
            (key, id) = (String::from_utf8_lossy(&next.key).into_owned(), next.id);
        }
        if !same(seen, begun) {
            return Ok(Some("its pages are not what is behind its markers"));
        }
        let Some((grouped, document)) = self.list_uploads(&[("delimiter", "/")]).await? else {
            return Ok(Some("has no groups"));
        };
        let group = format!("{}f/</Prefix>", self.uploads_below());
        let fits = same(self.places(&grouped), &begun[..3]) && document.contains(&group);
        Ok(if fits { None } else { Some("knows no delimiter") })
    }

    /// The list of what is below the probe's own key; `None`: it is refused, or is none.
    async fn list_uploads(&self, query: &[(&str, &str)]) -> Result<Option<(BackendUploads, String)>> {
        let bucket = &self.backend.config().system.bucket;
        let mut out = Outgoing::bucket(Method::GET, bucket).flag("uploads");
        out = out.param("prefix", self.uploads_below());
        for (name, value) in query {
            out = out.param(name, *value);
        }
        let response = self.send(out, Bytes::new()).await?;
        if response.status != StatusCode::OK {
            return Ok(None);
        }
        let document = response.body.prefix(MAX_PAGE).await;
        let page = parse_backend_uploads(&document).ok();
        Ok(page.map(|page| (page, String::from_utf8_lossy(&document).into_owned())))
    }

    fn places(&self, page: &BackendUploads) -> Vec<Place> {
        let below = self.uploads_below();
        let place = |key: &[u8]| {
            let key = String::from_utf8_lossy(key);
            key.strip_prefix(&below).unwrap_or(&key).to_owned()
        };
        page.uploads.iter().map(|upload| (place(&upload.key), upload.id.clone())).collect()
    }

    async fn begin(&self, key: &str) -> Result<Option<String>> {
        let begun = self.send(self.upload_of(Method::POST, key)?.flag("uploads"), Bytes::new()).await?;
        if !begun.is_success() {
            return Ok(None);
        }
        Ok(parse_initiated(&begun.body.prefix(MAX_PAGE).await).ok())
    }

    fn upload_of(&self, method: Method, key: &str) -> Result<Outgoing> {
        let key = ObjectKey::parse(format!("{}{key}", self.uploads_below()))?;
        Ok(Outgoing::object(method, &self.backend.config().system.bucket, &key))
    }

    fn uploads_below(&self) -> String {
        format!("{}{}/uploads/", self.backend.config().system.prefix, self.below)
    }
}
