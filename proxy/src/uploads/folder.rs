//! Where in the system area an upload's things lie: a folder of its own below that of its bucket.

use aws_lc_rs::digest::{Context, SHA256};

use super::UploadRef;
use crate::backend::SystemArea;
use crate::error::Result;
use crate::s3::name::BucketName;

/// Above the folders of all uploads.
pub(super) const ROOT: &str = "mpu/";
/// Bytes of the hash that is a folder's name.
const HASH: usize = 16;

/// The folder of one upload, without a slash at its end.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Folder(String);

impl Folder {
    /// Ids and keys hold any character, and name systems behind backends do not.
    pub(super) fn of(at: &UploadRef<'_>) -> Self {
        let mut hash = Context::new(&SHA256);
        for field in [at.bucket.as_str().as_bytes(), at.key.as_bytes(), at.id.as_bytes()] {
            hash.update(&(field.len() as u64).to_be_bytes());
            hash.update(field);
        }
        Self(format!("{}{}", of_bucket(at.bucket), hex::encode(&hash.finish().as_ref()[..HASH])))
    }

    /// The folder that a name of the area lies in; `None` for what is in no upload's.
    pub(super) fn holding(name: &str) -> Option<Self> {
        let (bucket, below) = name.strip_prefix(ROOT)?.split_once('/')?;
        let (hash, _) = below.split_once('/')?;
        let hexadecimal = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        let ours = BucketName::parse(bucket.as_bytes()).is_ok()
            && hash.len() == 2 * HASH
            && hash.bytes().all(hexadecimal);
        ours.then(|| Self(format!("{ROOT}{bucket}/{hash}")))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// Name of the upload's state.
    pub(super) fn state(&self) -> String {
        format!("{}/state", self.0)
    }

    /// Name of the record that an upload is the proxy's own.
    pub(super) fn own(&self) -> String {
        format!("{}/own", self.0)
    }

    /// What the names of all its things begin with.
    pub(super) fn below(&self) -> String {
        format!("{}/", self.0)
    }

    /// Deletes all that lies in it, the state last; how many objects there were. What is put into it meanwhile may stay:
    /// nobody can use it any more, and it is collected later.
    pub(super) async fn remove(&self, area: &SystemArea) -> Result<u64> {
        let (state, mut removed, mut stood) = (self.state(), 0, 0);
        let mut pages = area.pages(&self.below());
        while let Some(page) = pages.next().await? {
            let mut names: Vec<String> = page.entries.into_iter().map(|entry| entry.name).collect();
            let all = names.len();
            names.retain(|name| *name != state);
            stood += (all - names.len()) as u64;
            area.delete_all(&names).await?;
            removed += names.len() as u64;
        }
        area.delete(&state).await?;
        Ok(removed + stood)
    }
}

/// What the names of everything of a bucket's uploads begin with.
pub(super) fn of_bucket(bucket: &BucketName) -> String {
    format!("{ROOT}{bucket}/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::name::ObjectKey;

    #[test]
    fn every_upload_has_a_folder_of_its_own() {
        let (one, other) = (BucketName::parse(b"bucket").unwrap(), BucketName::parse(b"buckets").unwrap());
        let keys = [ObjectKey::parse("k").unwrap(), ObjectKey::parse("k/state").unwrap()];
        let mut all = std::collections::HashSet::new();
        for bucket in [&one, &other] {
            for key in &keys {
                for id in ["1", "2", "s1"] {
                    let folder = Folder::of(&UploadRef { bucket, key, id });
                    assert_eq!(Folder::holding(&folder.state()), Some(folder.clone()));
                    assert!(folder.below().starts_with(&of_bucket(bucket)));
                    assert!(!folder.below().starts_with("mpu/bucket/") || *bucket == one);
                    all.insert(folder);
                }
            }
        }
        assert_eq!(all.len(), 12);
    }

    #[test]
    fn other_names_are_in_no_folder() {
        let hash = "0".repeat(32);
        assert!(Folder::holding(&format!("mpu/bucket/{hash}/parts/00001/x")).is_some());
        for other in [
            "format".to_owned(),
            "mpu/".to_owned(),
            format!("mpu/bucket/{hash}"),
            format!("rules/bucket/{hash}/state"),
            format!("mpu/{hash}/state"),
            format!("mpu/bucket/{}/state", &hash[1..]),
            format!("mpu/bucket/{}A/state", &hash[1..]),
            format!("mpu/b/{hash}/state"),
            format!("mpu/../{hash}/state"),
        ] {
            assert_eq!(Folder::holding(&other), None, "{other}");
        }
    }
}
