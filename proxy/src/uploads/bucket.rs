//! What is kept of the uploads of a whole bucket, for when it is deleted: named while it stands, removed once it is gone.

use super::Uploads;
use super::folder::{Folder, of_bucket};
use crate::backend::Backend;
use crate::error::Result;
use crate::s3::name::BucketName;

/// Objects that are removed together with their bucket; what is above that is left to the sweep.
const MOST: usize = 10_000;

/// The records of a bucket's uploads at one moment.
pub struct BucketRecords {
    uploads: Vec<Folder>,
    others: Vec<String>,
}

impl BucketRecords {
    /// Those that there are now. Named before the bucket goes: what is made after it is gone is of a new bucket of its
    /// name, and must stay.
    pub async fn of(backend: &Backend, bucket: &BucketName) -> Result<Self> {
        let mut this = Self { uploads: Vec::new(), others: Vec::new() };
        let mut pages = backend.system().await?.pages(&of_bucket(bucket));
        while this.others.len() < MOST
            && let Some(page) = pages.next().await?
        {
            for entry in page.entries {
                match Folder::holding(&entry.name) {
                    Some(folder) if folder.state() == entry.name => this.uploads.push(folder),
                    Some(_) => this.others.push(entry.name),
                    None => {}
                }
            }
        }
        Ok(this)
    }

    /// Removes them; how many there were. The states first: from then on no upload of the bucket goes on.
    pub async fn remove(self, uploads: &Uploads, backend: &Backend) -> Result<u64> {
        let area = backend.system().await?;
        let states: Vec<String> = self.uploads.iter().map(Folder::state).collect();
        for folder in self.uploads {
            uploads.forget_folder(backend, folder);
        }
        area.delete_all(&states).await?;
        area.delete_all(&self.others).await?;
        Ok((states.len() + self.others.len()) as u64)
    }
}
