//! The aims of the project as ratios within one run. They are printed and judged by people: nothing fails by them, since
//! a busy machine must not break a build.

use std::fmt::Write as _;

use super::hashes::Hashes;
use crate::table::Samples;
use crate::targets::Kind;

/// Every aim, with what was measured.
pub(super) fn text(samples: &Samples, hashes: &Hashes) -> String {
    let mut lines = String::from("Aims:\n\n");
    let mut line = |what: &str, value: Option<f64>, at_least: Option<f64>, at_most: Option<f64>| {
        let Some(value) = value else { return };
        let bound = at_least.map_or(String::new(), |bound| format!("at least {bound}"))
            + &at_most.map_or(String::new(), |bound| format!("at most {bound}"));
        let met = at_least.is_none_or(|bound| value >= bound) && at_most.is_none_or(|bound| value <= bound);
        // Writing to a String does not fail.
        let _ = writeln!(lines, "- {} {what}: {value:.2} ({bound})", if met { "met" } else { "MISSED" });
    };
    let (opaque, nginx) = (Kind::Opaque, Kind::Nginx);
    for size in ["64 MiB", "1 GiB"] {
        let get = samples.ratio(&format!("GET {size}, GB/s"), opaque, nginx);
        line(&format!("GET {size}, speed to nginx"), get, Some(1.0), None);
        let get = samples.ratio(&format!("GET {size}, CPU s/GB"), opaque, nginx);
        line(&format!("GET {size}, CPU to nginx"), get, None, Some(1.0));
        let put = samples.ratio(&format!("PUT {size}, GB/s"), opaque, nginx);
        line(&format!("PUT {size} opaque, speed to nginx"), put, Some(1.0), None);
        let put = samples.ratio(&format!("PUT {size}, CPU s/GB"), opaque, nginx);
        line(&format!("PUT {size} opaque, CPU to nginx"), put, None, Some(1.2));
        let md5 = samples.median(&format!("PUT {size}, GB/s"), Kind::Md5).map(|speed| speed / hashes.md5());
        line(&format!("PUT {size} md5, speed to MD5 alone"), md5, Some(0.85), None);
    }
    for connections in [1, 32] {
        let title = format!("GET 4 KiB, c={connections}, requests/s");
        for kind in [opaque, Kind::Md5] {
            let get = samples.ratio(&title, kind, Kind::Bare);
            line(
                &format!("GET 4 KiB {}, c={connections}, rate to bare Pingora", kind.name()),
                get,
                Some(0.8),
                None,
            );
        }
    }
    for kind in [opaque, Kind::Md5] {
        for what in ["copy", "copy onto itself"] {
            let time = |size: &str| samples.median(&format!("{what}, {size}, p50 ms"), kind);
            let ratio = time("1 GiB").zip(time("1 MiB")).map(|(large, small)| large / small);
            line(&format!("{what}, {}, time of 1 GiB to 1 MiB", kind.name()), ratio, None, Some(2.0));
        }
    }
    for count in ["1 000", "10 000"] {
        for kind in [opaque, Kind::Md5] {
            let list = samples.ratio(&format!("list {count} keys warm, ms"), kind, Kind::Direct);
            line(&format!("list {count} keys warm, {}, time to direct", kind.name()), list, None, Some(1.5));
        }
    }
    for kind in [opaque, Kind::Md5] {
        // In parts against in one piece, of the sizes that a run has.
        let parts = samples.of(kind, "PUT 1024 MiB in parts").find(|(title, _)| title.ends_with("GB/s"));
        let ratio = parts.zip(samples.median("PUT 1 GiB, GB/s", kind)).map(|((_, parts), one)| parts / one);
        line(&format!("PUT in parts to PUT in one, {}", kind.name()), ratio, Some(0.9), None);
        let warm: Vec<String> = samples
            .of(kind, "")
            .filter(|(title, _)| title.ends_with("files, again, s"))
            .map(|(title, _)| title.to_owned())
            .collect();
        for title in warm {
            let ratio = samples.ratio(&title, kind, Kind::Direct);
            line(&format!("{title}, {}, time to direct", kind.name()), ratio, None, Some(1.5));
        }
    }
    for kind in [opaque, Kind::Md5] {
        for (title, peak) in samples.of(kind, "peak memory") {
            line(&format!("{title} ({})", kind.name()), Some(peak), None, Some(128.0));
        }
    }
    lines
}
