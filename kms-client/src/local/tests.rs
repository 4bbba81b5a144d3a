//! Tests of the folder of keys.

use super::*;

fn name(s: &str) -> KeyName {
    KeyName::new(s).unwrap()
}

fn keys() -> (tempfile::TempDir, LocalKeys) {
    let dir = tempfile::tempdir().unwrap();
    let keys = LocalKeys::open(dir.path().join("keys")).unwrap();
    (dir, keys)
}

#[tokio::test]
async fn seals_and_opens_under_name_and_context() {
    let (_dir, keys) = keys();
    keys.create(&name("a")).await.unwrap();
    keys.create(&name("b")).await.unwrap();
    let one = keys.generate(&name("a"), b"ctx").await.ok().unwrap();
    let two = keys.generate(&name("a"), b"ctx").await.ok().unwrap();
    assert_ne!(one.plaintext.expose(), two.plaintext.expose());
    assert_ne!(one.sealed, two.sealed);
    let opened = keys.decrypt(&name("a"), &one.sealed, b"ctx").await.ok().unwrap();
    assert_eq!(opened.expose(), one.plaintext.expose());
    for (key, context) in [("a", &b"other"[..]), ("a", b""), ("b", b"ctx")] {
        assert_eq!(keys.decrypt(&name(key), &one.sealed, context).await.err(), Some(KeyError::NotAuthentic));
    }
    assert_eq!(keys.decrypt(&name("a"), b"", b"ctx").await.err(), Some(KeyError::NotAuthentic));
    // A sealed form of another length than a data key's is refused, too.
    let long = seal::seal(keys.load(&name("a")).ok().unwrap().expose(), &[0; 33], b"", &[0; 16], &[0; 12]);
    assert_eq!(keys.decrypt(&name("a"), &long, b"").await.err(), Some(KeyError::NotAuthentic));
}

#[tokio::test]
async fn files_and_folder_are_for_the_owner_alone() {
    let (_dir, keys) = keys();
    keys.create(&name("a")).await.unwrap();
    let mode = |p: &Path| std::fs::metadata(p).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(keys.folder()), 0o700);
    assert_eq!(mode(&keys.folder().join("a")), 0o600);
    assert_eq!(std::fs::read(keys.folder().join("a")).unwrap().len(), 32);
    let left: Vec<_> = std::fs::read_dir(keys.folder()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["a"], "nothing is left aside");
}

#[tokio::test]
async fn a_name_is_made_once() {
    let (_dir, keys) = keys();
    keys.create(&name("a")).await.unwrap();
    let before = std::fs::read(keys.folder().join("a")).unwrap();
    assert_eq!(keys.create(&name("a")).await, Err(KeyError::Exists));
    assert_eq!(std::fs::read(keys.folder().join("a")).unwrap(), before);

    let mut racing = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let keys = keys.clone();
        racing.spawn(async move { keys.create(&name("raced")).await });
    }
    let results = racing.join_all().await;
    assert_eq!(results.iter().filter(|r| r.is_ok()).count(), 1);
    assert_eq!(results.iter().filter(|r| **r == Err(KeyError::Exists)).count(), 15);
}

#[tokio::test]
async fn missing_key_and_missing_folder_differ() {
    let (_dir, keys) = keys();
    assert_eq!(keys.generate(&name("a"), b"").await.err(), Some(KeyError::NotFound));
    assert_eq!(keys.decrypt(&name("a"), &[0; 76], b"").await.err(), Some(KeyError::NotFound));
    assert_eq!(keys.describe(&name("a")).await.err(), Some(KeyError::NotFound));
    assert_eq!(keys.health(&name("a")).await.err(), Some(KeyError::NotFound));
    assert_eq!(keys.delete(&name("a")).await.err(), Some(KeyError::NotFound));
    assert!(keys.status().await.is_usable());
    std::fs::remove_dir(keys.folder()).unwrap();
    assert!(keys.generate(&name("a"), b"").await.err().unwrap().is_unreachable());
    assert!(keys.create(&name("a")).await.unwrap_err().is_unreachable());
    assert!(keys.list("").await.unwrap_err().is_unreachable());
    assert!(!keys.status().await.is_usable());
}

#[tokio::test]
async fn damaged_file_is_no_key() {
    let (_dir, keys) = keys();
    for bytes in [&b""[..], &[1; 31], &[1; 33]] {
        std::fs::write(keys.folder().join("bad"), bytes).unwrap();
        assert!(keys.generate(&name("bad"), b"").await.err().unwrap().is_unreachable());
        assert!(keys.health(&name("bad")).await.is_err());
    }
}

#[tokio::test]
async fn lists_describes_deletes() {
    let (_dir, keys) = keys();
    for key in ["app-b", "app-a", "other"] {
        keys.create(&name(key)).await.unwrap();
    }
    std::fs::write(keys.folder().join("not.a.key"), b"x").unwrap();
    assert_eq!(keys.list("app-").await.unwrap(), ["app-a", "app-b"]);
    assert_eq!(keys.list("").await.unwrap(), ["app-a", "app-b", "other"]);
    let info = keys.describe(&name("other")).await.unwrap();
    assert_eq!((info.name.as_str(), info.algorithm.as_str()), ("other", "AES256"));
    assert!(info.created_at.is_some());
    let sealed = keys.generate(&name("other"), b"").await.ok().unwrap().sealed;
    keys.delete(&name("other")).await.unwrap();
    assert_eq!(keys.decrypt(&name("other"), &sealed, b"").await.err(), Some(KeyError::NotFound));
}

#[test]
fn a_file_is_not_a_folder() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("f"), b"").unwrap();
    assert_eq!(LocalKeys::open(dir.path().join("f")).unwrap_err().kind(), ErrorKind::NotADirectory);
}
