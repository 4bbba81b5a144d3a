//! One run: starts everything, measures target after target in rounds, so that whatever disturbs the machine disturbs
//! all of them, and prints the medians.

mod aims;
mod hashes;
mod trees;

use std::process::Command;

use crate::load::{Job, Outcome, Verb, Work};
use crate::table::Samples;
use crate::targets::{Backend, Kind, Target};
use crate::{Extra, Failure, RunOptions};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const SMALL: u64 = 4 << 10;
const RANGE: u64 = 64 << 10;
/// Keys that the small requests go over.
const KEYS: usize = 64;
/// One part of an upload in parts, a multiple of the pattern's period, and how many are sent at once.
const PART: u64 = 16 << 20;
const PARTS_AT_ONCE: usize = 4;
/// Clients at once, where memory is measured.
const CROWD: usize = 100;

/// How much of everything.
struct Scale {
    rounds: usize,
    /// Objects of 64 MiB a round; of 1 GiB it is one.
    large: usize,
    /// Copies of each size a round.
    copies: usize,
    /// Length of a closed loop.
    millis: u64,
    /// Sizes of the crowd's PUTs: two, to see that memory does not grow with them.
    crowd: [u64; 2],
    slow_millis: u64,
    /// Parts of an upload in parts.
    parts: u16,
    /// Files of a tree.
    files: usize,
}

impl Scale {
    fn new(quick: bool) -> Self {
        if quick {
            Self {
                rounds: 2,
                large: 4,
                copies: 20,
                millis: 400,
                crowd: [4 * MIB, 16 * MIB],
                slow_millis: 1500,
                parts: 16,
                files: 1000,
            }
        } else {
            Self {
                rounds: 5,
                large: 8,
                copies: 50,
                millis: 2000,
                crowd: [16 * MIB, 64 * MIB],
                slow_millis: 5000,
                parts: 64,
                files: 10_000,
            }
        }
    }
}

/// Measures, and prints.
pub(crate) fn run(options: &RunOptions) -> Result<(), Failure> {
    for name in &options.skip {
        if !Kind::ALL.iter().any(|kind| kind.name() == name) {
            return Err(format!("there is no target {name} to skip").into());
        }
    }
    let folder = std::env::temp_dir().join(format!("s3cloak-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let done = Run::new(options, &folder).and_then(Run::all);
    std::fs::remove_dir_all(&folder)?;
    println!("{}", done?);
    Ok(())
}

struct Run<'a> {
    options: &'a RunOptions,
    scale: Scale,
    targets: Vec<Target>,
    samples: Samples,
    hashes: hashes::Hashes,
    backend: Backend,
    folder: std::path::PathBuf,
}

impl<'a> Run<'a> {
    fn new(options: &'a RunOptions, folder: &std::path::Path) -> Result<Self, Failure> {
        let backend = Backend::start(options)?;
        let mut targets = Vec::new();
        for kind in Kind::ALL {
            if !options.skip.iter().any(|name| name == kind.name()) {
                targets.push(Target::start(kind, &backend, folder, options)?);
            }
        }
        let scale = Scale::new(options.quick);
        let hashes = hashes::Hashes::default();
        Ok(Self {
            options,
            scale,
            targets,
            samples: Samples::default(),
            hashes,
            backend,
            folder: folder.to_owned(),
        })
    }

    fn all(mut self) -> Result<String, Failure> {
        self.each("setting up", Self::set_up)?;
        for round in 1..=self.scale.rounds {
            self.hashes.measure();
            let rounds = self.scale.rounds;
            let note = |what: &str| format!("round {round} of {rounds}: {what}");
            self.each(&note("large objects"), Self::large)?;
            self.each(&note("copies"), Self::copies)?;
            if self.options.with.contains(&Extra::Multipart) {
                self.each(&note("large objects in parts"), Self::multipart)?;
            }
            self.each(&note("small objects and ranges"), Self::small)?;
            self.each(&note("listings"), Self::listings)?;
            // Nobody is always first.
            self.targets.rotate_left(1);
        }
        self.each("memory", Self::memory)?;
        if self.options.with.contains(&Extra::Trees) {
            trees::make(&self.folder, self.scale.files)?;
            self.each("trees", Self::trees)?;
        }
        Ok(format!(
            "{}\n{}\n{}\n{}",
            self.machine(),
            self.samples.table(),
            self.hashes.text(),
            aims::text(&self.samples, &self.hashes)
        ))
    }

    /// Does something for every target in turn.
    fn each(&mut self, note: &str, step: fn(&mut Self, usize) -> Result<(), Failure>) -> Result<(), Failure> {
        for at in 0..self.targets.len() {
            let kind = self.targets[at].kind;
            eprintln!("{note}: {}", kind.title());
            step(self, at).map_err(|error| format!("{note}, {}: {error}", kind.title()))?;
        }
        Ok(())
    }

    /// Has a load client carry out a job; returns what it saw, and the proxy's CPU time meanwhile.
    fn load(&self, at: usize, work: Work) -> Result<(Outcome, Option<f64>), Failure> {
        let target = &self.targets[at];
        let job = Job { endpoint: target.endpoint.clone(), bucket: target.bucket.clone(), work };
        let cpu = || target.process().map(|process| process.cpu()).transpose();
        let before = cpu()?;
        let output =
            Command::new(std::env::current_exe()?).arg("load").arg(serde_json::to_string(&job)?).output()?;
        let after = cpu()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned().into());
        }
        let outcome = serde_json::from_slice(&output.stdout)?;
        Ok((outcome, after.zip(before).map(|(after, before)| after - before)))
    }

    fn add(&mut self, at: usize, title: &str, digits: usize, value: Option<f64>) {
        self.samples.add(title, digits, self.targets[at].kind, value);
    }

    fn set_up(&mut self, at: usize) -> Result<(), Failure> {
        self.load(at, Work::CreateBucket)?;
        let large = "large".to_owned();
        let put = Work::Stream { verb: Verb::Put, key: large.clone(), size: 64 * MIB, count: 1 };
        self.load(at, put)?;
        self.load(at, Work::Verify { key: large, size: 64 * MIB })?;
        for (prefix, count) in [("list1k/", 1000), ("list10k/", 10_000), ("small/", KEYS)] {
            self.load(at, Work::Fill { prefix: prefix.to_owned(), count, size: SMALL, connections: 16 })?;
        }
        self.load(at, Work::Verify { key: "small/00000".to_owned(), size: SMALL })?;
        Ok(())
    }

    fn large(&mut self, at: usize) -> Result<(), Failure> {
        for (name, size, count) in [("64 MiB", 64 * MIB, self.scale.large), ("1 GiB", GIB, 1)] {
            for verb in [Verb::Put, Verb::Get] {
                // One key for both sizes, so that the backend's memory holds few of the large ones.
                let (outcome, cpu) =
                    self.load(at, Work::Stream { verb, key: "large".to_owned(), size, count })?;
                let gigabytes = outcome.bytes as f64 / 1e9;
                let verb = title(verb);
                self.add(at, &format!("{verb} {name}, GB/s"), 2, Some(gigabytes / outcome.seconds));
                self.add(at, &format!("{verb} {name}, CPU s/GB"), 2, cpu.map(|cpu| cpu / gigabytes));
            }
        }
        // The ranged reads and the slow readers take 64 MiB.
        self.load(at, Work::Stream { verb: Verb::Put, key: "large".to_owned(), size: 64 * MIB, count: 1 })?;
        Ok(())
    }

    fn copies(&mut self, at: usize) -> Result<(), Failure> {
        let (large, copy) = ("large".to_owned(), "copy".to_owned());
        for (name, size) in [("1 MiB", MIB), ("64 MiB", 64 * MIB), ("1 GiB", GIB)] {
            self.load(at, Work::Stream { verb: Verb::Put, key: large.clone(), size, count: 1 })?;
            for (what, to) in [("copy", &copy), ("copy onto itself", &large)] {
                let work = Work::Copy { from: large.clone(), to: to.clone(), count: self.scale.copies };
                let (outcome, cpu) = self.load(at, work)?;
                self.add(at, &format!("{what}, {name}, p50 ms"), 2, Some(outcome.p50_micros / 1e3));
                let each = cpu.map(|cpu| cpu * 1e3 / (self.scale.copies + 1) as f64);
                self.add(at, &format!("{what}, {name}, CPU ms"), 2, each);
                if size < GIB {
                    self.load(at, Work::Verify { key: to.clone(), size })?;
                }
            }
        }
        // The backend's memory keeps none of the large ones, and what follows takes 64 MiB.
        self.load(at, Work::Copy { from: "small/00000".to_owned(), to: copy, count: 1 })?;
        self.load(at, Work::Stream { verb: Verb::Put, key: large, size: 64 * MIB, count: 1 })?;
        Ok(())
    }

    fn multipart(&mut self, at: usize) -> Result<(), Failure> {
        let (parts, key) = (self.scale.parts, "large".to_owned());
        let size = PART * u64::from(parts);
        let put = Work::Multipart {
            key: key.clone(),
            part_size: PART,
            parts,
            connections: PARTS_AT_ONCE,
            count: 1,
        };
        let get = Work::Stream { verb: Verb::Get, key: key.clone(), size, count: 1 };
        let what = format!("{} MiB in parts of {} MiB", size / MIB, PART / MIB);
        let titles = [format!("PUT {what}, {PARTS_AT_ONCE} at once"), format!("GET {what}")];
        for (title, work) in titles.iter().zip([put, get]) {
            let (outcome, cpu) = self.load(at, work)?;
            let gigabytes = outcome.bytes as f64 / 1e9;
            self.add(at, &format!("{title}, GB/s"), 2, Some(gigabytes / outcome.seconds));
            self.add(at, &format!("{title}, CPU s/GB"), 2, cpu.map(|cpu| cpu / gigabytes));
        }
        self.load(at, Work::Verify { key: key.clone(), size })?;
        self.load(at, Work::Stream { verb: Verb::Put, key, size: 64 * MIB, count: 1 })?;
        Ok(())
    }

    /// The other proxies add nothing to what clients need for a tree.
    fn trees(&mut self, at: usize) -> Result<(), Failure> {
        let target = &self.targets[at];
        if matches!(target.kind, Kind::Nginx | Kind::Bare) {
            return Ok(());
        }
        let mut found = Vec::new();
        for client in trees::Client::ALL {
            for step in trees::Step::ALL {
                let cpu = || target.process().map(|process| process.cpu()).transpose();
                let before = cpu()?;
                let seconds = client.run(step, &self.folder, &target.endpoint, &target.bucket)?;
                let cpu = cpu()?.zip(before).map(|(after, before)| after - before);
                found.push((
                    format!("{} {} files, {}", client.title(), self.scale.files, step.title()),
                    seconds,
                    cpu,
                ));
            }
        }
        for (title, seconds, cpu) in found {
            self.add(at, &format!("{title}, s"), 1, Some(seconds));
            self.add(at, &format!("{title}, CPU s"), 1, cpu);
        }
        Ok(())
    }

    fn small(&mut self, at: usize) -> Result<(), Failure> {
        for (verb, range) in [(Verb::Get, None), (Verb::Put, None), (Verb::Get, Some(RANGE))] {
            for connections in [1, 32] {
                let (prefix, keys, size) = match range {
                    None => ("small/", KEYS, SMALL),
                    Some(_) => ("large", 1, 64 * MIB),
                };
                let millis = self.scale.millis;
                let prefix = prefix.to_owned();
                let work = Work::Repeat { verb, prefix, keys, size, range, connections, millis };
                let (outcome, cpu) = self.load(at, work)?;
                let what = match range {
                    None => format!("{} 4 KiB, c={connections}", title(verb)),
                    Some(_) => format!("GET 64 KiB range, c={connections}"),
                };
                let requests = outcome.requests as f64;
                self.add(at, &format!("{what}, requests/s"), 0, Some(requests / outcome.seconds));
                self.add(at, &format!("{what}, p50 µs"), 0, Some(outcome.p50_micros));
                self.add(at, &format!("{what}, p99 µs"), 0, Some(outcome.p99_micros));
                // The requests that warm up cost CPU time too, but are not counted.
                let warm = (connections + keys) as f64;
                let each = cpu.map(|cpu| cpu * 1e6 / (requests + warm));
                self.add(at, &format!("{what}, CPU µs/request"), 1, each);
            }
        }
        Ok(())
    }

    fn listings(&mut self, at: usize) -> Result<(), Failure> {
        for (prefix, name, expected) in [("list1k/", "1 000", 1000), ("list10k/", "10 000", 10_000)] {
            if self.targets[at].has_cache() {
                self.targets[at].run(&self.backend, self.options)?;
            }
            for heat in ["cold", "warm"] {
                let (outcome, cpu) = self.load(at, Work::List { prefix: prefix.to_owned(), expected })?;
                self.add(at, &format!("list {name} keys {heat}, ms"), 1, Some(outcome.seconds * 1e3));
                self.add(at, &format!("list {name} keys {heat}, CPU ms"), 0, cpu.map(|cpu| cpu * 1e3));
            }
        }
        Ok(())
    }

    fn memory(&mut self, at: usize) -> Result<(), Failure> {
        let put = |size| (Verb::Put, "sink/".to_owned(), size);
        let loads =
            [put(self.scale.crowd[0]), put(self.scale.crowd[1]), (Verb::Get, "large".to_owned(), 64 * MIB)];
        for (verb, key, size) in loads {
            if let Some(process) = self.targets[at].process() {
                process.reset_peak()?;
            }
            let millis = self.scale.slow_millis;
            self.load(at, Work::Crowd { verb, key, size, clients: CROWD, millis })?;
            let what = match verb {
                Verb::Put => format!("peak memory, {CROWD} PUTs of {} MiB, MiB", size / MIB),
                Verb::Get => format!("peak memory, {CROWD} slow GETs of 64 MiB, MiB"),
            };
            let peak = self.targets[at].process().map(|process| process.peak_memory()).transpose()?;
            self.add(at, &what, 0, peak);
        }
        Ok(())
    }

    fn machine(&self) -> String {
        let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let model = model.map_or("unknown CPU", |(_, model)| model);
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let backend = self.options.endpoint.as_deref().unwrap_or("an in-memory backend");
        let mode = if self.options.quick { "quick" } else { "full" };
        format!(
            "{mode} run, medians of {} rounds, {backend}; client, proxy and backend share {cores} cores ({model}).\n\
             PUTs are presigned with UNSIGNED-PAYLOAD. CPU is the proxy's user and system time.\n",
            self.scale.rounds
        )
    }
}

fn title(verb: Verb) -> &'static str {
    match verb {
        Verb::Get => "GET",
        Verb::Put => "PUT",
    }
}
