//! What a configuration says once it is read, and what is refused, with which line.

use std::path::Path;
use std::time::Duration;

use super::*;

fn read(text: &str) -> Result<Config, Faults> {
    read_in(text, Path::new("."))
}

fn read_in(text: &str, folder: &Path) -> Result<Config, Faults> {
    let variable = |name: &str| match name {
        "SECRET" => Some("hunter2hunter2".to_owned()),
        "ENDPOINT" => Some("ftp://user:hunter2hunter2@host".to_owned()),
        _ => None,
    };
    parse(text, "config.yaml", &Surroundings { variable: &variable, folder, listens: true })
}

const SMALLEST: &str = "\
listen:
  - address: 127.0.0.1:9000
backends:
  default: { endpoint: 'http://127.0.0.1:8333', access_key: AK, secret_key: SK }
keys:
  services: { main: { type: local, path: keys } }
credentials:
  - { access_key: client, secret_key: secret, allow: [{ buckets: ['*'], actions: [read, write, admin] }] }
";

/// The smallest configuration and more below it.
fn with(more: &str) -> Result<Config, Faults> {
    read(&format!("{SMALLEST}{more}"))
}

/// Line and place of every fault.
fn places(result: Result<Config, Faults>) -> Vec<(usize, String)> {
    let faults = result.expect_err("a fault").faults;
    for fault in &faults {
        assert!(!fault.message.is_empty() && !fault.remedy.is_empty(), "{fault:?}");
    }
    faults.into_iter().map(|fault| (fault.line.expect("a line"), fault.place)).collect()
}

/// The one fault, as shown.
fn only(result: Result<Config, Faults>) -> String {
    let faults = result.expect_err("a fault");
    assert_eq!(faults.faults.len(), 1, "{faults}");
    faults.to_string()
}

fn rule(config: &Config, bucket: &str) -> BucketRule {
    config.buckets.rule(&BucketName::parse(bucket.as_bytes()).unwrap()).clone()
}

#[test]
fn the_smallest_configuration_is_filled_up_with_defaults() {
    let config = read(SMALLEST).unwrap();
    let backend = &config.backends["default"];
    assert_eq!(backend.endpoint, "http://127.0.0.1:8333/");
    assert_eq!(backend.region, defaults::REGION);
    assert_eq!(backend.system.bucket.as_str(), "s3cloak-system");
    assert_eq!(backend.limits.put, 5 << 30);
    assert_eq!(config.keys.service, "main");
    assert_eq!(config.keys.default_key, "s3cloak-default");
    assert!(!config.keys.create_missing);
    assert_eq!(config.limits.buffers, 48 << 20);
    assert!(config.admin.is_none());
    let rule = rule(&config, "any-bucket");
    assert_eq!((rule.backend.as_str(), rule.sse, rule.etag), ("default", SseMode::SseS3, EtagPolicy::Md5));
    assert_eq!(rule.unencrypted_objects, Unencrypted::Reject);
    assert_eq!(rule.anonymous, Anonymous::Deny);
    assert!(rule.bucket_key && !rule.sse_named && !rule.shared_binding);
}

#[test]
fn the_example_in_the_repository_is_valid() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    let config = read_in(&text, file.parent().unwrap()).unwrap_or_else(|faults| panic!("{faults}"));
    assert_eq!(config.listen.len(), 1);
}

#[test]
fn units_and_every_section_are_read() {
    let config = read(
        "\
listen:
  - { address: '0.0.0.0:9000', tls_terminated_in_front: true, domains: [S3.Example.com], region: eu-1 }
  - { address: '[::1]:9002' }
admin: { address: 127.0.0.1:9001 }
backends:
  here:
    endpoint: https://storage:9000
    region: eu-central-1
    access_key: AK
    secret_key: ${SECRET}
    addressing: virtual-host
    system: { bucket: one-bucket, prefix: hidden/, gc_min_age: 14d }
    profile: { framing: plain, conditional_writes: false, pinned_copies: true, conditional_copies: false, whole_self_copies: true, suffix_ranges: true, subresources: [website], commits_short_bodies: accept }
    limits: { put: 10GiB, metadata: 8KiB }
    timeouts: { connect: 500ms, response: 10m, idle: 1m }
  there: { endpoint: 'http://other', access_key: AK, secret_key: SK }
keys:
  services:
    main: { type: kes, endpoints: ['https://a:7373/', 'https://b:7373'], api_key: 'kes:v1:AAAA', timeout: 3s }
    spare: { type: local, path: keys }
  service: main
  default_key: my-key
  create_missing: true
  aliases: { 'alias/photos': spare/photos-key }
  bucket_key: { rotate: 12h, idle: 30m, recheck: 10s, offline_reads: 0s, offline_writes: 5m }
credentials:
  - access_key: client
    secret_key: ${SECRET}
    session_token: token
    allow: [{ buckets: ['logs-*'], prefixes: [team/], actions: [read], keys: ['*'] }]
    backend_keys: { there: { access_key: X, secret_key: Y } }
buckets:
  '*': { backend: here, unencrypted_objects: pass, pass_before: 2026-01-31 }
limits: { buffer: 256KiB, buffers: 1MiB, drain: 5s }
compat: { ssec_wrong_key_status: 400, strict_conditions: true, sigv2: false, minio_api: false }
log: { filter: 'warn,s3cloak=debug', format: json }
",
    )
    .unwrap();
    assert_eq!(config.listen[0].domains, ["s3.example.com"]);
    let here = &config.backends["here"];
    assert_eq!(here.keys.secret_key.expose(), "hunter2hunter2");
    assert_eq!(here.addressing, Addressing::VirtualHost);
    assert_eq!(here.system.gc_min_age, Duration::from_secs(14 * 86_400));
    assert_eq!(here.profile.framing, Some(UploadFraming::Plain));
    assert!(here.profile.accept_short_bodies);
    assert_eq!((here.profile.pinned_copies, here.profile.conditional_copies), (Some(true), Some(false)));
    assert_eq!(here.profile.whole_self_copies, Some(true));
    assert_eq!(here.limits.metadata, 8192);
    assert_eq!(here.timeouts.connect, Duration::from_millis(500));
    let KeyServiceConfig::Kes(kes) = &config.keys.services["main"] else { panic!("KES") };
    assert_eq!(kes.endpoints, ["https://a:7373", "https://b:7373"]);
    assert_eq!(config.keys.aliases["alias/photos"], "spare/photos-key");
    assert_eq!(config.keys.bucket_key.offline_reads, Duration::ZERO);
    assert_eq!(config.credentials[0].allow[0].actions, [Action::Read]);
    assert_eq!(config.credentials[0].backend_keys["there"].access_key, "X");
    assert!(matches!(rule(&config, "abc").unencrypted_objects, Unencrypted::Pass { before: Some(_) }));
    assert_eq!((config.limits.buffer, config.limits.drain), (256 << 10, Duration::from_secs(5)));
    assert_eq!(config.compat.ssec_wrong_key_status, 400);
    assert!(config.log.json);
}

#[test]
fn bucket_rules_inherit_field_by_field() {
    let config = with(
        "\
buckets:
  '*': { etag: opaque, listing: arithmetic }
  'team-*': { sse: 'aws:kms', key: team-key }
  'team-a-*': { etag: md5 }
  team-a-photos: { key: photos-key, bucket_key: false }
  plain: { sse: AES256 }
",
    )
    .unwrap();
    let photos = rule(&config, "team-a-photos");
    assert_eq!(photos.sse, SseMode::SseKms);
    assert_eq!(photos.key.as_deref(), Some("photos-key"));
    assert_eq!((photos.etag, photos.listing), (EtagPolicy::Md5, ListingMode::Arithmetic));
    assert!(photos.sse_named && !photos.bucket_key);
    let sibling = rule(&config, "team-a-x");
    assert_eq!((sibling.key.as_deref(), sibling.etag), (Some("team-key"), EtagPolicy::Md5));
    assert!(!sibling.sse_named);
    assert_eq!(rule(&config, "team-b").etag, EtagPolicy::Opaque);
    let plain = rule(&config, "plain");
    assert_eq!((plain.key, plain.sse_named), (None, true));
}

#[test]
fn all_faults_are_told_at_once_in_the_order_of_the_file() {
    let result = read(
        "\
listen:
  - address: localhost:9000
  - { adress: '127.0.0.1:9001' }
backends:
  default:
    endpoint: http://127.0.0.1:8333/path
    acces_key: AK
    secret_key: 12345
    timeouts:
      connect: 5
keys:
  services:
    main: { type: kes, endpoints: ['http://kes:7373'], api_key: wrong }
  default_key: -nope
credentials:
  - { access_key: a/b, secret_key: '${MISSING}', allow: [] }
buckets:
  photos: { backend: nowhere, etag: sha1 }
limits: { buffer: 1 meg }
nonsense: 1
limits: {}
",
    );
    let faults = result.as_ref().expect_err("faults").to_string();
    let found = places(result);
    for expected in [
        (2, "listen[0].address"),
        (3, "listen[1].adress"),
        (3, "listen[1]"),
        (5, "backends.default"), // access_key is missing
        (6, "backends.default.endpoint"),
        (7, "backends.default.acces_key"),
        (8, "backends.default.secret_key"),
        (10, "backends.default.timeouts.connect"),
        (13, "keys.services.main.endpoints[0]"),
        (13, "keys.services.main.api_key"),
        (14, "keys.default_key"),
        (16, "credentials[0].access_key"),
        (16, "credentials[0].secret_key"),
        (16, "credentials[0].allow"),
        (18, "buckets.photos.backend"),
        (18, "buckets.photos.etag"),
        (19, "limits.buffer"),
        (20, "nonsense"),
        (21, "limits"),
    ] {
        assert!(found.contains(&(expected.0, expected.1.to_owned())), "{expected:?} in\n{faults}");
    }
    assert!(found.is_sorted_by_key(|(line, _)| *line), "{faults}");
    assert_eq!(found.len(), 19, "{faults}");
    assert!(faults.contains("Did you mean `address`?"), "{faults}");
    assert!(faults.contains("config.yaml:14: keys.default_key: "), "{faults}");
}

#[test]
fn an_empty_or_broken_file_is_told_too() {
    for text in ["", "# nothing\n", "[]", "text", "a: [1"] {
        assert!(read(text).is_err(), "{text:?}");
    }
    let missing = load(Path::new("no/such/config.yaml"), true).unwrap_err().to_string();
    assert!(missing.contains("--config"), "{missing}");
}

#[test]
fn names_that_refer_to_nothing_are_refused() {
    for (more, wanted) in [
        ("buckets: { photos: { backend: nowhere } }", "no backend \"nowhere\""),
        ("buckets: { photos: { sse: 'aws:kms', key: other/k } }", "no key service \"other\""),
        ("buckets: { photos: { sse: 'aws:kms', key: 'a.b' } }", "not a name that a key can have"),
        ("buckets: { photos: { key: k } }", "always takes the default key"),
        ("buckets: { photos: { pass_before: 2026-01-01 } }", "rejected here"),
        ("buckets: { s3cloak-system: {} }", "system bucket"),
        ("buckets: { s3cloak-system: { etag: md5 } }", "system bucket"),
        ("buckets: { 'a*b*': { etag: md5 } }", "only stand at the end"),
        ("buckets: { 'a/b': { etag: md5 } }", "neither a bucket's name"),
        ("admin: { address: 127.0.0.1:9000 }", "taken by admin"),
        ("admin: { address: 0.0.0.0:9000 }", "taken by admin"),
        ("limits: { buffer: 2MiB, buffers: 1MiB }", "more than all"),
        ("log: { filter: 'a=b=c' }", "not a log filter"),
        ("compat: { ssec_wrong_key_status: 500 }", "not known here"),
    ] {
        let shown = only(with(&format!("{more}\n")));
        assert!(shown.contains(wanted), "{more}: {shown}");
    }
}

#[test]
fn rights_on_keys_name_the_service() {
    let listed = |keys: &str| {
        let text = SMALLEST
            .replace("path: keys } }", "path: keys }, spare: { type: local, path: more } }\n  service: main")
            .replace("actions: [", &format!("keys: {keys}, actions: ["));
        read(&text)
    };
    let config = listed("['*', app, 'team-*', spare/app, 'spare/*', main/__]").unwrap();
    let all: Vec<_> = config.credentials[0].allow[0].keys.iter().collect();
    let shown: Vec<_> =
        all.iter().map(|one| (one.service.as_deref().unwrap_or("any"), one.name.as_str())).collect();
    assert_eq!(
        shown,
        [("any", "*"), ("main", "app"), ("main", "team-*"), ("spare", "app"), ("spare", "*"), ("main", "__")]
    );
    // All of them are told at once.
    let faults = listed("[other/app, 'a*b', '*/app', spare/, 'a.b', 'main/a/b', -x, '']");
    let places = places(faults);
    assert_eq!(places.len(), 8, "{places:?}");
    assert!(
        places
            .iter()
            .enumerate()
            .all(|(n, (_, place))| *place == format!("credentials[0].allow[0].keys[{n}]"))
    );
}

#[test]
fn nothing_may_be_collected_before_a_running_copy_had_time_to_speak_up() {
    let aged = |age: &str| {
        let system = format!("secret_key: SK, system: {{ gc_min_age: {age} }}");
        let text = SMALLEST.replacen("secret_key: SK", &system, 1);
        assert_ne!(text, SMALLEST);
        read(&text)
    };
    for short in ["1ms", "59m", "3599s"] {
        assert!(only(aged(short)).contains("at least 1h"), "{short}");
    }
    let config = aged("1h").unwrap();
    assert_eq!(config.backends["default"].system.gc_min_age, defaults::LEAST_GC_MIN_AGE);
}

#[test]
fn an_alias_may_stand_for_a_buckets_key() {
    let text = SMALLEST.replace("path: keys } }", "path: keys } }\n  aliases: { mine: real-key }");
    let config = read(&format!("{text}buckets: {{ photos: {{ sse: 'aws:kms', key: mine }} }}\n")).unwrap();
    assert_eq!(rule(&config, "photos").key.as_deref(), Some("real-key"));
}

#[test]
fn a_shared_binding_has_to_be_said_by_both() {
    let one_says = with("buckets:\n  old: { shared_binding: true }\n  new: { binding: old }\n");
    assert_eq!(places(one_says), [(11, "buckets.new".to_owned())]);
    let none_says = with("buckets:\n  aaa: { binding: xxx }\n  bbb: { binding: xxx }\n");
    assert_eq!(places(none_says), [(10, "buckets.aaa".to_owned()), (11, "buckets.bbb".to_owned())]);
    let pattern = with("buckets:\n  'tmp-*': { binding: tmp }\n");
    assert_eq!(places(pattern), [(10, "buckets.\"tmp-*\"".to_owned())]);
    let both =
        with("buckets:\n  old: { shared_binding: true }\n  new: { binding: old, shared_binding: true }\n");
    assert_eq!(rule(&both.unwrap(), "new").binding.as_deref(), Some("old"));
    assert!(with("buckets:\n  new: { binding: old }\n").is_ok());
}

#[test]
fn several_backends_need_a_choice() {
    let two = SMALLEST
        .replace("default:", "one:")
        .replace("keys:\n", "  two: { endpoint: 'http://other', access_key: AK, secret_key: SK }\nkeys:\n");
    assert!(only(read(&two)).contains("several backends"));
    let config = read(&format!("{two}buckets: {{ '*': {{ backend: two }} }}\n")).unwrap();
    assert_eq!(rule(&config, "abc").backend, "two");
    let same_area = two.replace("http://other", "http://127.0.0.1:8333");
    let faults = read(&format!("{same_area}buckets: {{ '*': {{ backend: two }} }}\n"));
    assert!(only(faults).contains("system area"));
}

#[test]
fn credentials_are_needed_and_unique() {
    let without = SMALLEST.split("credentials:").next().unwrap();
    assert!(only(read(without)).contains("nobody could use"));
    assert!(read(&format!("{without}buckets: {{ '*': {{ anonymous: backend }} }}\n")).is_ok());
    let line = SMALLEST.lines().last().unwrap();
    assert!(only(with(&format!("{line}\n"))).contains("another item already"));
    let unknown = SMALLEST.replace(
        "secret_key: secret,",
        "secret_key: secret, backend_keys: { x: { access_key: a, secret_key: b } },",
    );
    assert!(only(read(&unknown)).contains("no backend of this name"));
}

#[test]
fn tls_is_checked_down_to_the_files() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(folder.path().join("tls.crt"), made.cert.pem()).unwrap();
    std::fs::write(folder.path().join("tls.key"), made.signing_key.serialize_pem()).unwrap();
    let listen = |rest: &str| {
        let text = SMALLEST
            .replace("- address: 127.0.0.1:9000", &format!("- {{ address: '127.0.0.1:9000', {rest} }}"));
        read_in(&text, folder.path())
    };
    let good = "tls: { certificate: tls.crt, private_key: tls.key }";
    assert!(listen(good).unwrap().listen[0].tls.is_some());
    assert!(only(listen(&format!("{good}, tls_terminated_in_front: true"))).contains("also in front"));
    assert!(only(listen("tls: { certificate: tls.crt }")).contains("`private_key` is missing"));
    assert!(only(listen("tls: { certificate: no.crt, private_key: tls.key }")).contains("cannot use"));
    assert!(
        only(listen("tls: { certificate: tls.crt, private_key: tls.crt }")).contains("holds no private key")
    );
    assert!(
        only(listen("tls: { certificate: tls.key, private_key: tls.key }")).contains("holds no certificate")
    );
    // Who does not listen needs their names alone.
    let unread = SMALLEST.replace(
        "- address: 127.0.0.1:9000",
        "- { address: '127.0.0.1:9000', tls: { certificate: no.crt, private_key: no.key } }",
    );
    let beside = |text: &str| {
        parse(
            text,
            "config.yaml",
            &Surroundings { variable: &|_| None, folder: folder.path(), listens: false },
        )
    };
    assert!(beside(&unread).unwrap().listen[0].tls.is_some());
    assert!(only(beside(&unread.replace("certificate: no.crt, ", ""))).contains("`certificate` is missing"));
    let twice = "- { address: '127.0.0.1:9000' }\n  - { address: '0.0.0.0:9000' }";
    assert!(only(read(&SMALLEST.replace("- address: 127.0.0.1:9000", twice))).contains("another listener"));
}

#[test]
fn a_key_service_has_one_identity() {
    let kes = |rest: &str| {
        let service = format!("{{ type: kes, endpoints: ['https://kes:7373']{rest} }}");
        read(&SMALLEST.replace("{ type: local, path: keys }", &service))
    };
    assert!(kes(", api_key: 'kes:v1:AAAA'").is_ok());
    assert!(only(kes("")).contains("not told who we are"));
    assert!(only(kes(", api_key: 'kes:v1:AAAA', certificate: a")).contains("two identities"));
    assert!(only(kes(", api_key: '${SECRET}'")).contains("not an API key"));
}

#[test]
fn every_field_is_documented() {
    let document = include_str!("../../../docs/CONFIGURATION.md");
    let sources = [
        include_str!("sections/mod.rs"),
        include_str!("sections/listen.rs"),
        include_str!("sections/backends.rs"),
        include_str!("sections/keys.rs"),
        include_str!("sections/credentials.rs"),
        include_str!("sections/buckets.rs"),
        include_str!("files.rs"),
    ];
    let mut fields = std::collections::BTreeSet::new();
    for source in sources {
        for call in ["get(\"", "need(\"", "size(\"", "time(\"", "positive(\"", "any(\"", "        (\""] {
            let names = source.split(call).skip(1).filter_map(|rest| rest.split('"').next());
            fields.extend(names.filter(|name| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')));
        }
    }
    assert!(fields.len() > 60, "{fields:?}");
    for field in fields {
        assert!(document.contains(&format!("`{field}`")), "docs/CONFIGURATION.md does not explain `{field}`");
    }
}

#[test]
fn secrets_never_show() {
    let config = SMALLEST
        .replace("SK", "'${SECRET}'")
        .replace("secret_key: secret", "secret_key: '${SECRET}', session_token: '${SECRET}'");
    let config = config.replace(
        "{ type: local, path: keys }",
        "{ type: kes, endpoints: ['https://kes'], api_key: 'kes:v1:hunter2hunter2' }",
    );
    let shown = format!("{:?}", read(&config).unwrap());
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(shown.contains("******"));

    // Nor in a fault, whatever place a variable with a secret was put in.
    let everywhere = SMALLEST
        .replace("'http://127.0.0.1:8333'", "'${ENDPOINT}'")
        .replace("127.0.0.1:9000", "${SECRET}")
        .replace("access_key: client", "access_key: '${SECRET}/'")
        .replace("type: local", "type: '${SECRET}'");
    let more = "limits: { buffer: '${SECRET}', drain: '${SECRET}' }\nlog: { filter: '${ENDPOINT}' }\n\
                buckets: { photos: { backend: '${SECRET}', sse: 'aws:kms', key: '${SECRET}.', etag: '${SECRET}', pass_before: '${SECRET}', binding: '/${SECRET}' } }\n";
    let faults = read(&format!("{everywhere}{more}")).unwrap_err();
    assert!(faults.faults.len() >= 10, "{faults}");
    assert!(!faults.to_string().contains("hunter2"), "{faults}");
}
