//! Collects what uploads that have ended left behind: for whom it is safe to remove, and nobody else. What is not proved
//! to be of no use stays.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{Method, StatusCode};
use time::OffsetDateTime;

use super::folder::{Folder, ROOT};
use super::{Owner, Uploads, own};
use crate::backend::{Backend, Caller, Named, Names, Outgoing, SystemArea, error_from};
use crate::error::{Code, Result};
use crate::keys::Keyring;
use crate::record;

/// Uploads looked at together.
const TOGETHER: usize = 8;
/// A Date header tells whole seconds, so the clock behind it may be so much later.
const DATE_STEP: Duration = Duration::from_secs(1);

/// One look through the uploads in a backend's system area.
///
/// An upload is collected if
///
/// - it and everything kept of it is older than `min_age`, by each clock that was there,
/// - its state opens under our keys, is of this system area, and is what it was after the backend was asked,
/// - and the backend says that there is no such upload, or no such bucket. No other answer, and none at all, counts.
///
/// An upload that is on record as the proxy's own (`own.rs`) lives no longer than the request that it is made for, which renews
/// the record: one that was not for `min_age` is ended at the backend.
///
/// A folder without a state holds nothing that anybody could use: records and parts open under keys that stood in the
/// state alone. A state is written before its upload's id is told, and is removed last, so a folder of age without one
/// is what is left of an upload that has ended.
pub struct Collector<'a> {
    /// Opens the states.
    pub keyring: &'a Keyring,
    /// Whose memory of collected uploads goes too.
    pub uploads: &'a Uploads,
    /// Where to look.
    pub backend: &'a Backend,
    /// Nothing younger is touched.
    pub min_age: Duration,
    /// The time by this machine's clock.
    pub now: OffsetDateTime,
    /// Tells what would be done, and does nothing.
    pub dry_run: bool,
}

/// What was found of one upload, and what became of it.
#[derive(Debug)]
pub struct Judged {
    /// Where it lies in the system area.
    pub place: String,
    /// Whose it is, where that is known.
    pub upload: Option<Owner>,
    /// What became of it.
    pub fate: Fate,
}

/// What became of the things of one upload.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Fate {
    /// Something of it is younger than the least age.
    Young,
    /// The backend has the upload.
    UnderWay,
    /// The upload has ended; so many objects were removed, or would be.
    Ended(u64),
    /// It was for a copy of the proxy's own that never ended, and was ended at the backend; so many objects were removed, or
    /// would be.
    Abandoned(u64),
    /// There is no state any more; so many objects were removed, or would be.
    Orphaned(u64),
    /// Nothing is proved, for this reason.
    Kept(String),
}

/// Sums of one look.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Tally {
    /// Uploads of which something was younger than the least age.
    pub young: u64,
    /// Uploads that the backend has.
    pub under_way: u64,
    /// Uploads that have ended, collected.
    pub ended: u64,
    /// Uploads of copies that never ended, ended.
    pub abandoned: u64,
    /// Folders without a state, collected.
    pub orphaned: u64,
    /// Uploads of which nothing was proved.
    pub kept: u64,
    /// Objects removed.
    pub objects: u64,
    /// Names below `mpu/` that are none of ours; they stay.
    pub strangers: u64,
}

impl Tally {
    fn add(&mut self, fate: &Fate) {
        let (counter, objects) = match fate {
            Fate::Young => (&mut self.young, 0),
            Fate::UnderWay => (&mut self.under_way, 0),
            Fate::Ended(objects) => (&mut self.ended, *objects),
            Fate::Abandoned(objects) => (&mut self.abandoned, *objects),
            Fate::Orphaned(objects) => (&mut self.orphaned, *objects),
            Fate::Kept(_) => (&mut self.kept, 0),
        };
        *counter += 1;
        self.objects += objects;
    }

    /// Uploads looked at.
    pub fn looked_at(&self) -> u64 {
        self.young + self.under_way + self.ended + self.abandoned + self.orphaned + self.kept
    }
}

/// A folder as far as its listing tells.
struct Seen {
    folder: Folder,
    objects: u64,
    age: Age,
    has_state: bool,
}

impl Seen {
    fn of(folder: Folder) -> Self {
        Self { folder, objects: 0, age: Age::None, has_state: false }
    }

    fn add(&mut self, entry: &Named) {
        self.objects += 1;
        self.age = self.age.with(entry);
        self.has_state |= entry.name == self.folder.state();
    }
}

/// When the youngest of some objects was written. One whose time nobody tells may be the youngest.
#[derive(Clone, Copy)]
enum Age {
    None,
    Since(OffsetDateTime),
    Unknown,
}

impl Age {
    fn begun(owner: &Owner) -> Self {
        let created = OffsetDateTime::from_unix_timestamp_nanos(i128::from(owner.created_ms) * 1_000_000);
        created.map_or(Age::Unknown, Age::Since)
    }

    fn with(self, entry: &Named) -> Self {
        match (self, entry.modified) {
            (Age::Unknown, _) | (_, None) => Age::Unknown,
            (Age::None, Some(time)) => Age::Since(time),
            (Age::Since(youngest), Some(time)) => Age::Since(youngest.max(time)),
        }
    }
}

/// What the backend says of an upload.
enum Said {
    Has,
    HasNot,
    Nothing(String),
}

impl Collector<'_> {
    /// Looks at every upload, tells of each, and collects what may be.
    ///
    /// # Errors
    /// Where the system area cannot be listed. What was collected before stays so, and the rest waits.
    pub async fn run(&self, mut tell: impl FnMut(&Judged)) -> Result<Tally> {
        let area = self.backend.system().await?;
        let mut tally = Tally::default();
        let mut pages = area.pages(ROOT);
        let mut open: Option<Seen> = None;
        while let Some(page) = pages.next().await? {
            let mut whole = Vec::new();
            for entry in &page.entries {
                let Some(folder) = Folder::holding(&entry.name) else {
                    tally.strangers += 1;
                    continue;
                };
                if open.as_ref().is_none_or(|seen| seen.folder != folder) {
                    whole.extend(open.replace(Seen::of(folder)));
                }
                if let Some(seen) = &mut open {
                    seen.add(entry);
                }
            }
            self.judge_all(&area, whole, page.date, &mut tally, &mut tell).await;
        }
        self.judge_all(&area, open.into_iter().collect(), None, &mut tally, &mut tell).await;
        Ok(tally)
    }

    async fn judge_all(
        &self,
        area: &SystemArea,
        folders: Vec<Seen>,
        date: Option<OffsetDateTime>,
        tally: &mut Tally,
        tell: &mut impl FnMut(&Judged),
    ) {
        let mut judged = stream::iter(folders)
            .map(|seen| async move {
                let (mut upload, place) = (None, seen.folder.as_str().to_owned());
                let fate = self.judge(area, seen, date, &mut upload).await;
                let fate = fate.unwrap_or_else(|error| Fate::Kept(error.to_string()));
                Judged { place, upload, fate }
            })
            .buffer_unordered(TOGETHER);
        while let Some(judged) = judged.next().await {
            tally.add(&judged.fate);
            tell(&judged);
        }
    }

    async fn judge(
        &self,
        area: &SystemArea,
        seen: Seen,
        date: Option<OffsetDateTime>,
        upload: &mut Option<Owner>,
    ) -> Result<Fate> {
        let folder = seen.folder;
        if !self.is_old(seen.age, date) {
            return Ok(Fate::Young);
        }
        // On its own: its names need not have come in a row, or on one page.
        let (seen, date) = look(area, folder).await?;
        if !self.is_old(seen.age, date) {
            return Ok(Fate::Young);
        }
        let name = seen.folder.state();
        // A listing that leaves the state out makes no orphan of its upload, and neither does a 404 from something on the
        // way: both have to say that there is none.
        let Some(stored) = area.get(&name).await? else {
            if seen.has_state {
                return Ok(Fate::Kept("its state is listed, and was not there when it was read".to_owned()));
            }
            return match area.get(&seen.folder.own()).await? {
                Some(record) => self.judge_own(area, &seen, &record, date, upload).await,
                None => self.collect(area, &seen).await.map(Fate::Orphaned),
            };
        };
        let owner = match self.owner(area, &seen.folder, &name, &stored, Owner::read).await? {
            Ok(owner) => upload.insert(owner),
            Err(why) => return Ok(Fate::Kept(why)),
        };
        if !self.is_old(Age::begun(owner), date) {
            return Ok(Fate::Young);
        }
        match self.ask(owner).await? {
            Said::Has => return Ok(Fate::UnderWay),
            Said::Nothing(why) => return Ok(Fate::Kept(why)),
            Said::HasNot => {}
        }
        // A backend that gave the same id out anew since it was asked: its state has been written anew too.
        if area.get(&name).await?.as_ref() != Some(&stored) {
            return Ok(Fate::Young);
        }
        let collected = self.collect(area, &seen).await?;
        self.uploads.forget_folder(self.backend, seen.folder);
        Ok(Fate::Ended(collected))
    }

    /// Of an upload that was made for a copy: whoever made it, and did not renew its record, has long ended, whatever the
    /// backend says.
    async fn judge_own(
        &self,
        area: &SystemArea,
        seen: &Seen,
        record: &[u8],
        date: Option<OffsetDateTime>,
        upload: &mut Option<Owner>,
    ) -> Result<Fate> {
        let owner = match self.owner(area, &seen.folder, &seen.folder.own(), record, own::read).await? {
            Ok(owner) => upload.insert(owner),
            Err(why) => return Ok(Fate::Kept(why)),
        };
        if !self.is_old(Age::begun(owner), date) {
            return Ok(Fate::Young);
        }
        let said = self.ask(owner).await?;
        // Renewed since it was looked at: somebody is at it.
        if area.get(&seen.folder.own()).await?.as_deref() != Some(record) {
            return Ok(Fate::Young);
        }
        match said {
            Said::Has if self.dry_run => Ok(Fate::Abandoned(seen.objects)),
            Said::Has => match self.end(owner).await? {
                None => self.collect(area, seen).await.map(Fate::Abandoned),
                Some(why) => Ok(Fate::Kept(why)),
            },
            Said::HasNot => self.collect(area, seen).await.map(Fate::Ended),
            Said::Nothing(why) => Ok(Fate::Kept(why)),
        }
    }

    /// Whose record lies there. `Err(why)`: it is not usable.
    async fn owner(
        &self,
        area: &SystemArea,
        folder: &Folder,
        name: &str,
        stored: &[u8],
        read: fn(&[u8]) -> Result<Owner, &'static str>,
    ) -> Result<Result<Owner, String>> {
        let unusable = |why: &str| Ok(Err(format!("its state is not usable: {why}")));
        let place = folder.as_str();
        match record::open(self.keyring, area.id(), name, stored).await? {
            Err(why) => {
                tracing::error!(place, why, alert = "tampered", "an upload's state is not authentic");
                self.uploads.alarm.raise();
                unusable(why)
            }
            Ok(plain) => match read(&plain) {
                Ok(owner) if Folder::of(&owner.upload()) == *folder => Ok(Ok(owner)),
                Ok(_) => unusable("it is another upload's"),
                Err(why) => unusable(why),
            },
        }
    }

    async fn collect(&self, area: &SystemArea, seen: &Seen) -> Result<u64> {
        if self.dry_run { Ok(seen.objects) } else { seen.folder.remove(area).await }
    }

    /// By our clock and, where the storage tells it, by its own: one that is wrong makes nothing old.
    fn is_old(&self, age: Age, date: Option<OffsetDateTime>) -> bool {
        let Age::Since(youngest) = age else { return false };
        let now = date.map_or(self.now, |date| self.now.min(date + DATE_STEP));
        now - youngest >= self.min_age
    }

    /// AbortMultipartUpload, under the backend's own keys; why it failed, if it did.
    async fn end(&self, owner: &Owner) -> Result<Option<String>> {
        let out =
            Outgoing::object(Method::DELETE, &owner.bucket, &owner.key).param("uploadId", owner.id.as_str());
        let response = self.backend.call(&Caller::Own, out, Bytes::new()).await?;
        if response.is_success() {
            return Ok(None);
        }
        let error = error_from(response, &Names { bucket: None, key: Some(&owner.key) }).await;
        Ok(match error.code() {
            Code::NoSuchUpload => None,
            _ => Some(format!("the storage was told to end its upload and answered {error}")),
        })
    }

    /// ListParts, under the backend's own keys.
    async fn ask(&self, owner: &Owner) -> Result<Said> {
        let out = Outgoing::object(Method::GET, &owner.bucket, &owner.key)
            .param("max-parts", "1")
            .param("uploadId", owner.id.as_str());
        let response = self.backend.call(&Caller::Own, out, Bytes::new()).await?;
        if response.status == StatusCode::OK {
            return Ok(Said::Has);
        }
        // A bare 404 may come from anything on the way, and counts as NoSuchKey: only a document tells of more.
        let error = error_from(response, &Names { bucket: None, key: Some(&owner.key) }).await;
        Ok(match error.code() {
            Code::NoSuchUpload => Said::HasNot,
            Code::NoSuchBucket if self.backend.has_one_caller() => Said::HasNot,
            _ => Said::Nothing(format!("the storage was asked for its upload and answered {error}")),
        })
    }
}

/// All of one folder.
async fn look(area: &SystemArea, folder: Folder) -> Result<(Seen, Option<OffsetDateTime>)> {
    let mut pages = area.pages(&folder.below());
    let mut seen = Seen::of(folder);
    let mut date = None;
    while let Some(page) = pages.next().await? {
        date = date.or(page.date);
        page.entries.iter().for_each(|entry| seen.add(entry));
    }
    Ok((seen, date))
}
