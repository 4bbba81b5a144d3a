//! Tables of what an upload's requests are refused for, and the ETags and checksums that S3 would give.

use aws_lc_rs::digest::{SHA256, digest};

use super::*;

const CRC: Checksums =
    Checksums { algorithm: ChecksumAlgorithm::Crc64Nvme, composite: false, explicit: false };

fn hash(algorithm: ChecksumAlgorithm, bytes: &[u8]) -> Vec<u8> {
    let mut hasher = Hasher::new(algorithm);
    hasher.update(bytes);
    hasher.finish()
}

fn record(number: u16, bytes: &[u8], size: u64, at_ms: u64, checksums: &Checksums) -> PartRecord {
    let md5 = hash(ChecksumAlgorithm::Md5, bytes).try_into().unwrap();
    let checksum = hash(checksums.algorithm, bytes);
    let backend_etag = (size >= MIN_PART).then(|| format!("backend-{number}-{at_ms}"));
    PartRecord {
        number,
        at_ms,
        kept: None,
        size,
        salt: [number as u8; 16],
        md5: Some(md5),
        checksum,
        backend_etag,
    }
}

fn listed(record: &PartRecord) -> ListedPart {
    ListedPart { number: record.number, etag: record.client_etag(), checksums: Vec::new() }
}

fn standing(records: &[PartRecord]) -> Standing {
    records.iter().filter_map(|r| Some((r.number, vec![r.backend_etag.clone()?]))).collect()
}

fn create(pairs: &[(&'static str, &'static str)]) -> Result<Checksums> {
    Checksums::of_create(&pairs.iter().map(|(n, v)| (n.parse().unwrap(), v.parse().unwrap())).collect())
}

#[test]
fn algorithms_and_types_pair_as_on_s3() {
    const ALGORITHM: &str = "x-amz-checksum-algorithm";
    const TYPE: &str = "x-amz-checksum-type";
    let kinds =
        |pairs: &[(&'static str, &'static str)]| create(pairs).map(|c| (c.kind_name(), c.explicit)).unwrap();
    assert_eq!(kinds(&[]), ("FULL_OBJECT", false));
    assert_eq!(kinds(&[(ALGORITHM, "CRC64NVME")]), ("FULL_OBJECT", true));
    assert_eq!(kinds(&[(ALGORITHM, "crc32")]), ("COMPOSITE", true));
    assert_eq!(kinds(&[(ALGORITHM, "CRC32C"), (TYPE, "FULL_OBJECT")]), ("FULL_OBJECT", true));
    assert_eq!(kinds(&[(ALGORITHM, "SHA256"), (TYPE, "COMPOSITE")]), ("COMPOSITE", true));
    for bad in [
        &[(TYPE, "FULL_OBJECT")][..],
        &[(ALGORITHM, "CRC16")],
        &[(ALGORITHM, "SHA1"), (TYPE, "FULL_OBJECT")],
        &[(ALGORITHM, "CRC64NVME"), (TYPE, "COMPOSITE")],
        &[(ALGORITHM, "CRC32"), (TYPE, "PARTIAL")],
    ] {
        assert_eq!(create(bad).unwrap_err().code(), &Code::InvalidRequest, "{bad:?}");
    }
}

#[test]
fn a_parts_algorithm_has_to_be_its_uploads_where_that_was_named() {
    let sha = create(&[("x-amz-checksum-algorithm", "SHA256")]).unwrap();
    let none = sha.check_part(None).unwrap_err();
    assert!(none.message().ends_with("expected checksum Type: sha256, actual checksum Type: null"), "{none}");
    let whole = [("x-amz-checksum-algorithm", "CRC32C"), ("x-amz-checksum-type", "FULL_OBJECT")];
    assert!(create(&whole).unwrap().check_part(None).is_ok());
    assert!(CRC.check_part(None).is_ok());
    assert!(sha.check_part(Some(ChecksumAlgorithm::Sha256)).is_ok());
    assert_eq!(sha.check_part(Some(ChecksumAlgorithm::Sha1)).unwrap_err().code(), &Code::InvalidRequest);
    assert!(CRC.check_part(Some(ChecksumAlgorithm::Sha1)).is_ok());
}

#[test]
fn the_newest_attempt_that_stands_is_taken() {
    let old = record(1, b"old", MIN_PART, 1, &CRC);
    let new = record(1, b"new", MIN_PART, 2, &CRC);
    let last = record(3, b"z", 1, 3, &CRC);
    let records = [new.clone(), old.clone(), last.clone()];
    let current = standing(std::slice::from_ref(&new));
    let chosen = choose(&[listed(&new), listed(&last)], &records, &current, &CRC).unwrap();
    assert_eq!(chosen, [new.clone(), last.clone()]);
    // The attempt that was replaced stands no more, were its record there.
    let error = choose(&[listed(&old), listed(&last)], &records, &current, &CRC).unwrap_err();
    assert_eq!(error.code(), &Code::InvalidPart);
    // The same bytes sent twice have one ETag: the one that stands is meant.
    let twin = PartRecord { at_ms: 9, backend_etag: Some("gone".to_owned()), salt: [9; 16], ..new.clone() };
    let chosen = choose(&[listed(&new)], &[twin, new.clone()], &current, &CRC).unwrap();
    assert_eq!(chosen, [new]);
}

#[test]
fn lists_show_the_newest_attempt_that_stands() {
    let held = record(2, b"held", 5, 1, &CRC);
    let later = record(2, b"later", MIN_PART, 2, &CRC);
    let replaced = record(1, b"replaced", MIN_PART, 9, &CRC);
    let stands = record(1, b"stands", MIN_PART, 3, &CRC);
    let current = standing(&[stands.clone(), later.clone()]);
    let records = vec![later.clone(), replaced, held.clone(), stands.clone()];
    assert_eq!(newest(records, &current), [stands, later.clone()]);
    assert_eq!(newest(vec![later, held.clone()], &HashMap::new()), [held]);
}

#[test]
fn what_is_newest_is_told_by_the_storages_clock() {
    let second = |at: i64| Some(OffsetDateTime::from_unix_timestamp(at).unwrap());
    let held = |at_ms, kept| PartRecord { kept, ..record(1, b"held", 5, at_ms, &CRC) };
    let hour = 3_600_000;
    // The clock of the replica that stored the later one is behind, or ahead.
    for later in [1, 9 * hour] {
        let (old, new) = (held(5 * hour, second(100)), held(later, second(101)));
        for records in [vec![old.clone(), new.clone()], vec![new.clone(), old.clone()]] {
            assert_eq!(newest(records.clone(), &HashMap::new()), std::slice::from_ref(&new));
            let chosen = choose(&[listed(&new)], &records, &HashMap::new(), &CRC).unwrap();
            assert_eq!(chosen, std::slice::from_ref(&new));
        }
    }
    // Within one second of the storage the replica's own clock tells, and where the storage tells no time at all.
    for kept in [second(100), None] {
        let (old, new) = (held(7, kept), held(8, kept));
        for records in [vec![old.clone(), new.clone()], vec![new.clone(), old.clone()]] {
            assert_eq!(newest(records, &HashMap::new()), std::slice::from_ref(&new));
        }
    }
}

#[test]
fn storage_may_keep_what_was_replaced() {
    let old = record(1, b"old", MIN_PART, 1, &CRC);
    let new = record(1, b"new", MIN_PART, 2, &CRC);
    let tags = [&new, &old].map(|record| record.backend_etag.clone().unwrap());
    // In whatever order it tells of both.
    for tags in [tags.clone(), [tags[1].clone(), tags[0].clone()]] {
        let current = Standing::from([(1, tags.to_vec())]);
        let records = [old.clone(), new.clone()];
        for record in [&old, &new] {
            let chosen = choose(&[listed(record)], &records, &current, &CRC).unwrap();
            assert_eq!(chosen, std::slice::from_ref(record));
        }
        assert_eq!(newest(records.to_vec(), &current), std::slice::from_ref(&new));
    }
}

#[test]
fn parts_without_a_record_are_unsettled() {
    let (one, held) = (record(1, b"a", MIN_PART, 1, &CRC), record(2, b"b", 5, 1, &CRC));
    let records = [one.clone(), held.clone()];
    let list = [listed(&one), listed(&held)];
    let mut current = standing(&records);
    assert!(!is_unsettled(&list, &records, &current));
    // What a Complete put there for a held part, and parts that nobody lists.
    current.insert(2, vec!["held and trailer".to_owned()]);
    current.insert(3, vec!["trailer".to_owned()]);
    assert!(!is_unsettled(&list, &records, &current));
    current.insert(1, vec!["sent again".to_owned()]);
    assert!(is_unsettled(&list, &records, &current));
    assert!(!is_unsettled(&list[1..], &records, &current));
}

#[test]
fn wrong_lists_are_refused_by_name() {
    let big = record(1, b"a", MIN_PART, 1, &CRC);
    let small = record(2, b"b", MIN_PART - 1, 1, &CRC);
    let third = record(3, b"c", MIN_PART, 1, &CRC);
    let records = [big.clone(), small.clone(), third.clone()];
    let current = standing(&records);
    let code = |list: &[ListedPart], checksums| {
        choose(list, &records, &current, checksums).unwrap_err().code().clone()
    };
    assert_eq!(code(&[listed(&third), listed(&big)], &CRC), Code::InvalidPartOrder);
    assert_eq!(code(&[listed(&big), listed(&big)], &CRC), Code::InvalidPartOrder);
    assert_eq!(code(&[ListedPart { number: 4, ..listed(&big) }], &CRC), Code::InvalidPart);
    assert_eq!(code(&[ListedPart { etag: "f".repeat(32), ..listed(&big) }], &CRC), Code::InvalidPart);
    assert_eq!(code(&[listed(&big), listed(&small), listed(&third)], &CRC), Code::EntityTooSmall);
    assert!(choose(&[listed(&big), listed(&small)], &records, &current, &CRC).is_ok());
    let wrong =
        ListedPart { checksums: vec![(ChecksumAlgorithm::Crc64Nvme, "AAAAAAAAAAA=".into())], ..listed(&big) };
    assert_eq!(code(&[wrong], &CRC), Code::InvalidPart);
    let other = ListedPart { checksums: vec![(ChecksumAlgorithm::Crc32, "AAAAAA==".into())], ..listed(&big) };
    assert!(choose(std::slice::from_ref(&other), &records, &current, &CRC).is_ok());
    assert_eq!(code(std::slice::from_ref(&other), &Checksums { explicit: true, ..CRC }), Code::BadDigest);
    let (mut several, mut garbled) = (other.clone(), other);
    several.checksums.push((ChecksumAlgorithm::Sha1, "AAAAAAAAAAAAAAAAAAAAAAAAAAA=".into()));
    garbled.checksums[0].1 = "AAAA".into();
    assert_eq!(code(&[several], &CRC), Code::InvalidArgument);
    assert_eq!(code(&[garbled], &CRC), Code::InvalidArgument);
    let composite = Checksums { algorithm: ChecksumAlgorithm::Sha256, composite: true, explicit: true };
    assert_eq!(code(&[listed(&big)], &composite), Code::InvalidRequest);
}

#[test]
fn facts_are_those_of_s3() {
    let (one, two) = (b"first part".as_slice(), b"second".as_slice());
    let whole = [one, two].concat();
    let at = |checksums: &Checksums| {
        let parts =
            [record(1, one, one.len() as u64, 1, checksums), record(2, two, two.len() as u64, 1, checksums)];
        facts(&parts, checksums).unwrap()
    };
    let full = at(&CRC);
    let md5s = [hash(ChecksumAlgorithm::Md5, one), hash(ChecksumAlgorithm::Md5, two)].concat();
    let md5 = hash(ChecksumAlgorithm::Md5, &md5s).try_into().unwrap();
    assert_eq!(full.etag, EtagFact::Multipart { md5, parts: 2 });
    assert_eq!(full.checksum.unwrap().value, hash(ChecksumAlgorithm::Crc64Nvme, &whole));
    let sha = Checksums { algorithm: ChecksumAlgorithm::Sha256, composite: true, explicit: true };
    let composite = at(&sha).checksum.unwrap();
    let sums = [digest(&SHA256, one).as_ref(), digest(&SHA256, two).as_ref()].concat();
    assert_eq!(composite.value, digest(&SHA256, &sums).as_ref());
    assert!(ShownChecksum::of_fact(&composite, Some(2)).unwrap().text().ends_with("=-2"));
    let opaque = PartRecord { md5: None, ..record(1, one, 10, 1, &CRC) };
    assert_eq!(opaque.client_etag(), format!("{}-1", "01".repeat(16)));
    assert_eq!(facts(&[opaque], &CRC).unwrap().etag, EtagFact::Opaque);
}

#[test]
fn promises_about_the_whole_are_held() {
    let fact = facts(&[record(1, b"x", 1, 1, &CRC)], &CRC).unwrap().checksum.unwrap();
    let right = ChecksumAlgorithm::format_value(&fact.value);
    let computed = ShownChecksum::of_fact(&fact, Some(1)).unwrap();
    let check = |name: &'static str, value: &str| {
        let headers = HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())]);
        check_promises(&headers, &CRC, 1, &computed).map_err(|e| e.code().clone())
    };
    assert_eq!(check("x-amz-mp-object-size", "1"), Ok(()));
    assert_eq!(check("x-amz-mp-object-size", "2"), Err(Code::InvalidRequest));
    for no_size in ["one", "-1", "+1", ""] {
        assert_eq!(check("x-amz-mp-object-size", no_size), Err(Code::InvalidRequest), "{no_size}");
    }
    assert_eq!(check("x-amz-checksum-crc64nvme", &right), Ok(()));
    assert_eq!(check("x-amz-checksum-crc64nvme", "AAAAAAAAAAA="), Err(Code::BadDigest));
    assert_eq!(check("x-amz-checksum-type", "FULL_OBJECT"), Ok(()));
    assert_eq!(check("x-amz-checksum-type", "COMPOSITE"), Err(Code::InvalidRequest));
}

#[test]
fn promises_that_cannot_be_read_are_refused_first() {
    let check = |pairs: &[(&'static str, &str)]| {
        let pairs = pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        check_promised(&HeaderMap::from_iter(pairs)).map_err(|e| (e.code().clone(), e.message().to_owned()))
    };
    for good in [
        &[][..],
        &[("x-amz-checksum-type", "full_object")],
        &[("x-amz-checksum-crc32", "AAAAAA==")],
        &[("x-amz-checksum-crc32", "AAAAAA==-3"), ("x-amz-checksum-type", "COMPOSITE")],
    ] {
        assert_eq!(check(good), Ok(()), "{good:?}");
    }
    for (bad, words) in [
        (&[("x-amz-checksum-type", "HALF")][..], "Value for x-amz-checksum-type header is invalid."),
        (&[("x-amz-checksum-crc32", "AAAA")], "Value for x-amz-checksum-crc32 header is invalid."),
        (&[("x-amz-checksum-crc32", "AAAAAA==-x")], "Value for x-amz-checksum-crc32 header is invalid."),
        (&[("x-amz-checksum-sha1", "no")], "Value for x-amz-checksum-sha1 header is invalid."),
        (
            &[("x-amz-checksum-crc32", "AAAAAA=="), ("x-amz-checksum-crc32c", "AAAAAA==")],
            "Expecting a single",
        ),
    ] {
        let (code, message) = check(bad).unwrap_err();
        assert!(code == Code::InvalidRequest && message.starts_with(words), "{bad:?}: {message}");
    }
}

#[test]
fn the_objects_end_takes_a_number_that_no_part_has() {
    let records = [record(4, b"", 0, 1, &CRC), record(5, b"", 0, 1, &CRC)];
    assert_eq!(trailer_number(3, &records), Some(6));
    assert_eq!(trailer_number(4, &[]), Some(5));
    assert_eq!(trailer_number(9_999, &[record(10_000, b"", 0, 1, &CRC)]), Some(10_000));
    assert_eq!(trailer_number(10_000, &[]), None);
    assert_eq!(part_number(Some("10000")).unwrap(), 10_000);
    for bad in [None, Some("0"), Some("10001"), Some("-1"), Some("a"), Some("")] {
        assert_eq!(part_number(bad).unwrap_err().code(), &Code::InvalidArgument, "{bad:?}");
    }
}
