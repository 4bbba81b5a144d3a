//! The probe and the system area against backends with every habit that matters.

use super::fake::{Fake, Habits, PLAIN, SIGNED, TRAILER};
use super::*;

fn probed(fake: &Fake, change: impl FnOnce(&mut config::Backend)) -> Backend {
    let mut config = config(fake.server.address);
    config.profile = ProfileOverrides::default();
    change(&mut config);
    Backend::new("test", config).unwrap()
}

async fn profile(habits: Habits) -> Profile {
    let fake = Fake::start(habits).await;
    (*probed(&fake, |_| {}).prepare().await.unwrap()).clone()
}

async fn refusal(habits: Habits, change: impl FnOnce(&mut config::Backend)) -> String {
    let fake = Fake::start(habits).await;
    let error = probed(&fake, change).prepare().await.unwrap_err();
    assert_eq!(error.code(), &Code::ServiceUnavailable);
    error.cause().unwrap().to_owned()
}

#[tokio::test]
async fn a_faithful_backend_gets_every_good_mark_and_is_left_clean() {
    let fake = Fake::start(Habits::default()).await;
    let backend = probed(&fake, |_| {});
    assert!(!backend.is_prepared());
    let profile = backend.prepare().await.unwrap();
    assert!(backend.is_prepared());
    assert_eq!(profile.framing, UploadFraming::UnsignedTrailer);
    assert_eq!(profile.trailer_checksum, TrailerChecksum::Crc64Nvme);
    assert!(profile.trailers_verified && profile.put_if_none_match && profile.put_if_match);
    assert!(profile.delete_if_match && profile.suffix_ranges && profile.content_md5);
    assert!(profile.copies && profile.copy_source_if_match);
    assert!(profile.copy_if_match && profile.copy_if_none_match);
    assert!(profile.subresources.is_empty());
    let left: Vec<String> = fake.store.lock().unwrap().objects.keys().cloned().collect();
    assert_eq!(left, ["s3cloak-system/format", "s3cloak-system/subresources"]);

    let requests = fake.server.seen().len();
    backend.prepare().await.unwrap();
    assert_eq!(fake.server.seen().len(), requests, "probed once");
}

#[tokio::test]
async fn the_framing_is_one_that_stores_no_short_body() {
    let short =
        |keeps_short: &[&'static str]| Habits { keeps_short: keeps_short.to_vec(), ..Habits::default() };
    assert_eq!(profile(short(&[PLAIN])).await.framing, UploadFraming::UnsignedTrailer);
    assert_eq!(profile(short(&[PLAIN, TRAILER])).await.framing, UploadFraming::SignedChunks);
    assert_eq!(profile(short(&[SIGNED, TRAILER])).await.framing, UploadFraming::Plain);
    let refuses = Habits { refuses: vec![TRAILER], ..short(&[PLAIN]) };
    assert_eq!(profile(refuses).await.framing, UploadFraming::SignedChunks);
}

#[tokio::test]
async fn a_backend_that_stores_every_short_body_is_refused_unless_accepted() {
    let habits = || Habits { keeps_short: vec![PLAIN, TRAILER, SIGNED], ..Habits::default() };
    assert!(refusal(habits(), |_| {}).await.contains("accept_short_bodies"));
    // Nor does a stated framing help.
    let stated = |config: &mut config::Backend| config.profile.framing = Some(UploadFraming::Plain);
    let plain = Habits { keeps_short: vec![PLAIN], ..Habits::default() };
    assert!(refusal(plain, stated).await.contains("accept_short_bodies"));

    let fake = Fake::start(habits()).await;
    let backend = probed(&fake, |config| config.profile.accept_short_bodies = true);
    let report = backend.check().await.unwrap();
    assert_eq!(report.profile.framing, UploadFraming::UnsignedTrailer);
    let warned = report.findings.iter().filter(|finding| finding.detail.contains("REPLACES")).count();
    assert_eq!(warned, 4, "each form is told of");
}

#[tokio::test]
async fn what_is_ignored_is_found_out() {
    let profile = profile(Habits {
        ignores_trailers: true,
        ignores_conditions: true,
        ignores_suffixes: true,
        ignores_md5: true,
        ..Habits::default()
    })
    .await;
    assert!(!profile.trailers_verified && !profile.put_if_none_match && !profile.put_if_match);
    assert!(!profile.delete_if_match && !profile.suffix_ranges && !profile.content_md5);
}

#[tokio::test]
async fn copies_are_pinned_where_the_backend_lets_them() {
    let sources = profile(Habits { ignores_copy_sources: true, ..Habits::default() }).await;
    assert!(sources.copies && !sources.copy_source_if_match && sources.copy_if_match);
    let destinations = profile(Habits { ignores_copy_conditions: true, ..Habits::default() }).await;
    assert!(destinations.copies && destinations.copy_source_if_match);
    assert!(!destinations.copy_if_match && !destinations.copy_if_none_match && destinations.put_if_match);
    let none = profile(Habits { knows_no_copies: true, ..Habits::default() }).await;
    assert!(!none.copies && !none.copy_source_if_match && !none.copy_if_match && !none.copy_if_none_match);
}

#[tokio::test]
async fn keys_that_it_takes_for_others_are_found_out_and_no_more_than_these() {
    let folds = async |habits: Habits| -> Vec<Fold> { profile(habits).await.folds.into_iter().collect() };
    assert_eq!(folds(Habits::default()).await, []);
    let all_but_one = [Fold::LeadingSlash, Fold::EmptySegment, Fold::Dot, Fold::DotDot];
    assert_eq!(folds(Habits { folds_names: true, ..Habits::default() }).await, all_but_one);
    assert_eq!(folds(Habits { folds_backslashes: true, ..Habits::default() }).await, [Fold::Backslash]);

    let fake = Fake::start(Habits { folds_names: true, ..Habits::default() }).await;
    let backend = probed(&fake, |_| {});
    let key = |text: &str| ObjectKey::parse(text).unwrap();
    assert_eq!(backend.folds(&key("a/b")).await.unwrap(), None);
    assert!(!backend.is_prepared(), "nobody waits for an ordinary key");
    assert_eq!(backend.folds(&key("a/../b")).await.unwrap(), Some(Fold::DotDot));
    assert_eq!(backend.folds(&key("a\\b")).await.unwrap(), None);
    let report = backend.check().await.unwrap();
    assert!(report.findings.iter().any(|finding| !finding.good && finding.detail.contains("`//`")));
    let left: Vec<String> = fake.store.lock().unwrap().objects.keys().cloned().collect();
    assert_eq!(left, ["s3cloak-system/format", "s3cloak-system/subresources"]);
}

fn subresources() -> BTreeMap<&'static str, (u16, &'static str)> {
    BTreeMap::from([
        ("website", (404, "<Error><Code>NoSuchWebsiteConfiguration</Code></Error>")),
        ("tagging", (200, "<Tagging><TagSet/></Tagging>")),
        ("logging", (200, "<BucketLoggingStatus/>")),
        // The bare operation ran: a listing.
        ("replication", (200, "<ListBucketResult><Name>b</Name></ListBucketResult>")),
        ("cors", (404, "<Error><Code>NoSuchKey</Code></Error>")),
    ])
}

async fn known(habits: Habits) -> Vec<String> {
    profile(Habits { subresources: subresources(), ..habits }).await.subresources.into_iter().collect()
}

#[tokio::test]
async fn a_subresource_counts_if_get_speaks_of_it_and_delete_spares_the_rest() {
    assert_eq!(known(Habits::default()).await, ["logging", "tagging", "website"]);
    let deletes = Habits { deletes_all: vec!["website"], ..Habits::default() };
    assert_eq!(known(deletes).await, ["logging", "tagging"]);
    let loses = Habits { loses_tagged: true, ..Habits::default() };
    assert_eq!(known(loses).await, ["logging", "website"]);
    // Where nothing can be tried, nothing with a DELETE is known.
    assert_eq!(known(Habits { one_bucket: true, ..Habits::default() }).await, ["logging"]);
}

#[tokio::test]
async fn subresources_are_measured_once_and_again_on_demand() {
    let fake = Fake::start(Habits { subresources: subresources(), ..Habits::default() }).await;
    let buckets_made =
        || fake.server.seen().iter().filter(|s| s.line().starts_with("PUT /s3cloak-system-")).count();
    probed(&fake, |_| {}).prepare().await.unwrap();
    assert_eq!(buckets_made(), 1);
    let again = probed(&fake, |_| {}).prepare().await.unwrap();
    assert!(again.has_subresource("website"));
    assert_eq!(buckets_made(), 1);
    probed(&fake, |_| {}).check().await.unwrap();
    assert_eq!(buckets_made(), 2);
    assert_eq!(fake.store.lock().unwrap().buckets.iter().collect::<Vec<_>>(), ["s3cloak-system"]);
}

#[tokio::test]
async fn a_backend_that_loses_what_it_is_given_is_refused() {
    let lossy = Habits { loses_objects: true, ..Habits::default() };
    assert!(refusal(lossy, |_| {}).await.contains("system area"));
    assert!(
        refusal(Habits { refuses: vec![PLAIN, SIGNED, TRAILER], ..Habits::default() }, |_| {})
            .await
            .contains("probe")
    );
}

#[tokio::test]
async fn the_system_bucket_must_be_our_own() {
    let habits = Habits { foreign: vec!["s3cloak-system"], ..Habits::default() };
    assert!(refusal(habits, |_| {}).await.contains("another account"));
}

#[tokio::test]
async fn a_system_bucket_that_keeps_or_deletes_by_itself_is_refused() {
    for (name, body, what) in [
        (
            "versioning",
            "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>",
            "versioning",
        ),
        (
            "object-lock",
            "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>",
            "object lock",
        ),
        (
            "lifecycle",
            "<LifecycleConfiguration><Rule><ID>x</ID></Rule></LifecycleConfiguration>",
            "lifecycle",
        ),
    ] {
        let habits = Habits { subresources: BTreeMap::from([(name, (200, body))]), ..Habits::default() };
        assert!(refusal(habits, |_| {}).await.contains(what));
    }
    // Never switched on, or switched off again, is fit.
    let off = "<VersioningConfiguration/>";
    let habits = Habits { subresources: BTreeMap::from([("versioning", (200, off))]), ..Habits::default() };
    assert_eq!(profile(habits).await.framing, UploadFraming::UnsignedTrailer);
}

#[tokio::test]
async fn every_replica_reads_the_same_id() {
    let fake = Fake::start(Habits::default()).await;
    let (a, b) = (probed(&fake, |_| {}), probed(&fake, |_| {}));
    let (first, second) = tokio::join!(a.system(), b.system());
    assert_eq!(first.unwrap().id(), second.unwrap().id());
    let later = probed(&fake, |_| {}).system().await.unwrap();
    assert_eq!((later.id(), later.format()), (a.system().await.unwrap().id(), 1));
    let other = Fake::start(Habits::default()).await;
    assert_ne!(probed(&other, |_| {}).system().await.unwrap().id(), later.id());
}

#[tokio::test]
async fn a_format_of_the_future_or_a_broken_one_is_left_alone() {
    for body in [
        r#"{"format":2,"system_id":"00112233445566778899aabbccddeeff"}"#,
        "{}",
        r#"{"format":1,"system_id":"x"}"#,
    ] {
        let fake = Fake::start(Habits::default()).await;
        {
            let mut store = fake.store.lock().unwrap();
            store.buckets.insert("s3cloak-system".into());
            store.objects.insert("s3cloak-system/format".into(), body.into());
        }
        let error = probed(&fake, |_| {}).system().await.unwrap_err();
        assert!(error.cause().unwrap().contains("system area"), "{body}");
        assert_eq!(fake.store.lock().unwrap().objects["s3cloak-system/format"], body.as_bytes());
    }
}

#[tokio::test]
async fn a_prefix_serves_accounts_with_one_bucket() {
    let fake = Fake::start(Habits { foreign: vec!["only"], ..Habits::default() }).await;
    let one = |config: &mut config::Backend| {
        config.system.bucket = bucket("only");
        config.system.prefix = ".s3cloak/".into();
    };
    assert!(probed(&fake, one).system().await.is_err(), "the bucket is not there");
    fake.store.lock().unwrap().buckets.insert("only".into());
    let backend = probed(&fake, one);
    let area = backend.system().await.unwrap();
    area.put("a/b", Bytes::from_static(b"1")).await.unwrap();
    assert!(fake.store.lock().unwrap().objects.contains_key("only/.s3cloak/a/b"));

    let only = bucket("only");
    assert!(backend.is_hidden(&only, Some(b".s3cloak/a/b")));
    assert!(!backend.is_hidden(&only, Some(b"a/b")) && !backend.is_hidden(&only, None));
    assert!(!backend.is_hidden(&bucket("other"), Some(b".s3cloak/a/b")));
}

#[tokio::test]
async fn objects_of_the_area_are_kept_listed_and_deleted() {
    let fake = Fake::start(Habits::default()).await;
    let backend = probed(&fake, |_| {});
    let area = backend.system().await.unwrap();
    for name in ["x/1", "x/2", "x/3", "x/4", "x/5", "y/1"] {
        area.put(name, name.as_bytes().to_vec().into()).await.unwrap();
    }
    assert_eq!(area.get("x/3").await.unwrap().unwrap(), "x/3");
    assert_eq!(area.get("z").await.unwrap(), None);
    let mut names = Vec::new();
    let mut pages = area.pages("x/");
    while let Some(page) = pages.next().await.unwrap() {
        assert!(page.entries.len() <= 2 && page.date.is_none());
        names.extend(page.entries.into_iter().map(|entry| entry.name));
    }
    assert_eq!(names, ["x/1", "x/2", "x/3", "x/4", "x/5"]);
    area.delete("x/3").await.unwrap();
    area.delete("x/3").await.unwrap();
    assert_eq!(area.get("x/3").await.unwrap(), None);
    assert!(backend.is_hidden(&bucket("s3cloak-system"), None));
    assert!(!backend.is_hidden(&bucket("bkt"), None));
}

#[test]
fn long_names_are_cut_into_parts() {
    let name = "a".repeat(450);
    let parts: Vec<String> = components(&name).split('/').map(str::to_owned).collect();
    assert_eq!(parts.iter().map(String::len).collect::<Vec<_>>(), [200, 200, 50]);
    assert_eq!(components(&"b".repeat(200)).len(), 200);
    assert_eq!(components(""), "");
}

#[tokio::test]
async fn a_listing_that_lies_is_not_believed() {
    let circles = Fake::start(Habits { lists_in_circles: true, ..Habits::default() }).await;
    let area = probed(&circles, |_| {}).system().await.unwrap();
    area.put("x/1", "1".into()).await.unwrap();
    let mut pages = area.pages("x/");
    assert!(pages.next().await.is_ok());
    let error = pages.next().await.unwrap_err();
    assert!(error.cause().unwrap().contains("in circles"), "{error}");

    // Whoever deletes what it listed deletes nothing else.
    let others = Fake::start(Habits { lists_others: true, ..Habits::default() }).await;
    let area = probed(&others, |_| {}).system().await.unwrap();
    for name in ["x/1", "y/1"] {
        area.put(name, "1".into()).await.unwrap();
    }
    let mut pages = area.pages("x/");
    let mut names = Vec::new();
    while let Some(page) = pages.next().await.unwrap() {
        names.extend(page.entries.into_iter().map(|entry| entry.name));
    }
    assert_eq!(names, ["x/1"]);
}
