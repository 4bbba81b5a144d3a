//! Tests of grants: what a limited credential may and may not do.

use crate::auth::testing::{Draft, credential, store, store_of};
use crate::config::{Action, Grant, KeyPattern};
use crate::error::Code;
use crate::keys::ResolvedKey;
use crate::s3::name::BucketName;

fn grant(buckets: &[&str], prefixes: &[&str], actions: &[Action]) -> Grant {
    let owned = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect();
    Grant { buckets: owned(buckets), prefixes: owned(prefixes), actions: actions.to_vec(), keys: vec![] }
}

fn may(grants: &[Grant], method: &'static str, target: &str) -> bool {
    let mut draft = Draft::new(method, target);
    if method == "POST" {
        draft = draft.header("content-type", "application/xml");
    }
    let request = draft.sign().verify(&store_of(credential(grants.to_vec()))).unwrap();
    match request.identity().authorize_request(&request) {
        Ok(()) => true,
        Err(error) => {
            assert_eq!(error.code(), &Code::AccessDenied);
            false
        }
    }
}

fn bucket(name: &str) -> BucketName {
    BucketName::parse(name.as_bytes()).unwrap()
}

#[test]
fn actions() {
    let reader = [grant(&["*"], &[], &[Action::Read])];
    let writer = [grant(&["*"], &[], &[Action::Write])];
    let admin = [grant(&["*"], &[], &[Action::Admin])];
    for (method, target, who) in [
        ("GET", "/bucket/k", 0),
        ("HEAD", "/bucket/k", 0),
        ("GET", "/bucket?list-type=2", 0),
        ("GET", "/bucket?versions", 0),
        ("GET", "/bucket?location", 0),
        ("HEAD", "/bucket", 0),
        ("PUT", "/bucket/k", 1),
        ("DELETE", "/bucket/k", 1),
        ("POST", "/bucket?delete", 1),
        ("PUT", "/bucket/k?tagging", 1),
        ("PUT", "/bucket", 2),
        ("DELETE", "/bucket", 2),
        ("PUT", "/bucket?policy", 2),
        ("GET", "/bucket?policy", 2),
        ("PUT", "/bucket?versioning", 2),
        ("DELETE", "/bucket?cors", 2),
    ] {
        for (i, grants) in [&reader, &writer, &admin].into_iter().enumerate() {
            assert_eq!(may(grants, method, target), i == who, "{method} {target} by {i}");
        }
    }
    // Its answer shows only what it may see.
    assert!(may(&writer, "GET", "/"));
    assert!(!may(&[], "GET", "/bucket/k"));
}

#[test]
fn buckets() {
    let grants = [grant(&["photos", "logs-*"], &[], &[Action::Read])];
    for (target, want) in [
        ("/photos/k", true),
        ("/logs-2024/k", true),
        ("/logs-/k", true),
        ("/photos2/k", false),
        ("/logs/k", false),
        ("/xlogs-1/k", false),
    ] {
        assert_eq!(may(&grants, "GET", target), want, "{target}");
    }
    let who = Draft::new("GET", "/").sign().verify(&store_of(credential(grants.to_vec()))).unwrap();
    assert!(who.identity().may_see(&bucket("photos")) && who.identity().may_see(&bucket("logs-1")));
    assert!(!who.identity().may_see(&bucket("other")));
}

#[test]
fn prefixes_are_bytes_of_the_decoded_key() {
    let all = [Action::Read, Action::Write, Action::Admin];
    let grants = [grant(&["bucket"], &["home/a/", "shared"], &all)];
    for (method, target, want) in [
        ("GET", "/bucket/home/a/x", true),
        ("GET", "/bucket/home%2Fa/x", true),
        ("PUT", "/bucket/shared-too", true),
        ("GET", "/bucket/home/a", false),
        ("GET", "/bucket/home/b/x", false),
        ("GET", "/bucket/home/b/../a/x", false),
        ("GET", "/bucket//home/a/x", false),
        ("GET", "/bucket?prefix=home/a/", true),
        ("GET", "/bucket?list-type=2&prefix=home%2Fa%2Fsub", true),
        ("GET", "/bucket?prefix=home/", false),
        ("GET", "/bucket?prefix=", false),
        ("GET", "/bucket", false),
        ("GET", "/bucket?versions", false),
        // Asked by clients before anything else, and silent about objects.
        ("HEAD", "/bucket", true),
        ("GET", "/bucket?location", true),
        // Each key of the body is for the handler.
        ("POST", "/bucket?delete", true),
        ("DELETE", "/bucket", false),
        ("PUT", "/bucket?policy", false),
    ] {
        assert_eq!(may(&grants, method, target), want, "{method} {target}");
    }
    let who = Draft::new("GET", "/").sign().verify(&store_of(credential(grants.to_vec()))).unwrap();
    assert!(who.identity().authorize(Action::Write, &bucket("bucket"), Some(b"shared/1")).is_ok());
    assert!(who.identity().authorize(Action::Write, &bucket("bucket"), Some(b"other")).is_err());
    assert!(who.identity().authorize(Action::Write, &bucket("other-bucket"), Some(b"shared/1")).is_err());
}

#[test]
fn one_grant_has_to_cover_all_of_it() {
    let grants = [grant(&["a-bucket"], &[], &[Action::Read]), grant(&["b-bucket"], &[], &[Action::Write])];
    assert!(may(&grants, "GET", "/a-bucket/k") && may(&grants, "PUT", "/b-bucket/k"));
    assert!(!may(&grants, "PUT", "/a-bucket/k") && !may(&grants, "GET", "/b-bucket/k"));
}

fn key(service: &str, name: &str) -> ResolvedKey {
    ResolvedKey { service: service.to_owned(), name: name.parse().unwrap() }
}

fn pattern(service: Option<&str>, name: &str) -> KeyPattern {
    KeyPattern { service: service.map(str::to_owned), name: name.to_owned() }
}

#[test]
fn keys_are_named_with_their_service() {
    let mut limited = grant(&["bucket"], &[], &[Action::Write]);
    let (default, own) = (key("main", "default"), key("second", "photos-key"));
    let allowed = |grant: &Grant, service: &str, name: &str| {
        let who = Draft::new("GET", "/").sign().verify(&store_of(credential(vec![grant.clone()]))).unwrap();
        who.identity().authorize_key(&bucket("bucket"), &key(service, name), &[&default, &own]).is_ok()
    };
    assert!(allowed(&limited, "main", "default") && allowed(&limited, "second", "photos-key"));
    // The same names elsewhere are other keys.
    assert!(!allowed(&limited, "second", "default") && !allowed(&limited, "main", "photos-key"));
    assert!(!allowed(&limited, "main", "other"));
    limited.keys = vec![pattern(Some("main"), "team-*"), pattern(Some("second"), "one")];
    assert!(allowed(&limited, "main", "team-1") && allowed(&limited, "second", "one"));
    assert!(!allowed(&limited, "second", "team-1") && !allowed(&limited, "main", "one"));
    assert!(!allowed(&limited, "main", "default") && !allowed(&limited, "second", "ones"));
    limited.keys = vec![pattern(Some("second"), "*")];
    assert!(allowed(&limited, "second", "any") && !allowed(&limited, "main", "any"));
    limited.keys = vec![pattern(None, "*")];
    assert!(allowed(&limited, "second", "one") && allowed(&limited, "main", "any"));
    limited.buckets = vec!["elsewhere".into()];
    assert!(!allowed(&limited, "second", "one"));
    limited.buckets = vec!["*".into()];
    limited.actions = vec![Action::Read];
    assert!(!allowed(&limited, "second", "one"));
}

#[test]
fn keys_as_such_are_looked_at_by_service() {
    let mut admin = grant(&["*"], &[], &[Action::Admin]);
    let may = |grant: &Grant, service: &str| {
        let who = Draft::new("GET", "/").sign().verify(&store_of(credential(vec![grant.clone()]))).unwrap();
        who.identity().authorize_keys(Some(&key(service, "k"))).is_ok()
    };
    assert!(may(&admin, "main") && may(&admin, "second"));
    admin.keys = vec![pattern(Some("second"), "k")];
    assert!(!may(&admin, "main") && may(&admin, "second"));
}

#[test]
fn anonymous_requests_stay_in_their_bucket() {
    let request = Draft::new("PUT", "/public-files/k").verify(&store()).unwrap();
    let nobody = request.identity();
    assert!(nobody.authorize_request(&request).is_ok());
    assert!(nobody.authorize(Action::Read, &bucket("public-files"), Some(b"x")).is_ok());
    assert!(nobody.authorize(Action::Read, &bucket("private"), Some(b"x")).is_err());
    assert!(
        nobody
            .authorize_key(&bucket("public-files"), &key("main", "other"), &[&key("main", "default")])
            .is_err()
    );
    assert!(!nobody.may_see(&bucket("public-files")));
    assert!(nobody.backend_keys("default").is_none());
}
