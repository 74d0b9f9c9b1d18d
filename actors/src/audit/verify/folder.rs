//! Whether an export is what was signed: manifest, checkpoint, hashes, records, bodies and every other file.
//!
//! The steps, their order and their verdicts are those of `export/verify.py`; what is changed here is changed there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{Fault, FaultKind, Outcome, Progress, Report, Signed, Trusted, Verification, believed, leaf_head, open};
use crate::audit::checkpoint::{VerifyingKey, origin};
use crate::audit::export::manifest::{self, BodyLine, Manifest};
use crate::audit::merkle::{Frontier, Hash, leaf_hash, verify_consistency};

/// Verifies the export in `folder`; `progress` is told how many records of the range are done.
pub fn verify_export(folder: &Path, trusted: &Trusted, progress: &mut Progress<'_>) -> Verification {
    let mut report = Report::default();
    let outcome = match run(folder, trusted, progress, &mut report) {
        Ok(()) => Outcome::Sound,
        Err(fault) => Outcome::Wrong(fault),
    };
    Verification { outcome, report }
}

fn run(folder: &Path, trusted: &Trusted, progress: &mut Progress<'_>, report: &mut Report) -> Result<(), Fault> {
    if !folder.is_dir() {
        return Err(Fault::new(FaultKind::Usage, format!("`{}` is no folder", folder.display())));
    }
    let (manifest, key) = read_manifest(folder, trusted)?;
    let name = key.text(&origin(&manifest.log));
    report.signed = if trusted.key.is_some() { Signed::Trusted(name) } else { Signed::Named(name) };
    report.log = Some(manifest.log.clone());
    (report.start, report.end) = (manifest.start, manifest.end);
    let mut roots = check_claims(&manifest, &key, trusted)?;
    report.size = manifest.range_proof.size;
    report.root = roots.expected.get(&report.size).copied();
    report.checkpoints = roots.proven.len() as u64;
    report.bodies_gone = manifest.counts.erased.unwrap_or_default();
    if let Some(listed) = manifest.files.iter().find(|listed| !folder.join(&listed.name).is_file()) {
        return Err(Fault::new(FaultKind::Incomplete, format!("`{}` is missing", listed.name)));
    }
    Walk::new(folder, &manifest)?.run(&manifest, &mut roots, progress, report)?;
    report.gaps = manifest.counts.in_range - report.records;
    check_files(folder, &manifest)?;
    match roots.expected.keys().find(|size| !roots.proven.contains(*size)) {
        None => Ok(()),
        Some(size) => Err(Fault::new(
            FaultKind::Incomplete,
            format!("nothing in the export leads from the trusted checkpoint at {size} records to its own"),
        )),
    }
}

/// Reads the manifest once its signature is known to fit.
fn read_manifest(folder: &Path, trusted: &Trusted) -> Result<(Manifest, VerifyingKey), Fault> {
    let read = |name: &str| {
        fs::read(folder.join(name)).map_err(|_| Fault::new(FaultKind::Incomplete, format!("`{name}` is missing")))
    };
    let (bytes, signature) = (read(manifest::MANIFEST)?, read(manifest::SIGNATURE)?);
    let unsigned = || {
        let what = "the manifest is not signed with the key, or it or its signature was changed";
        Fault::new(FaultKind::Signature, what)
    };
    let named = || Some(serde_json::from_slice::<Key>(&bytes).ok()?.key);
    let key = trusted.key.or_else(|| VerifyingKey::parse(&named()?)).ok_or_else(unsigned)?;
    let signed = signature.strip_suffix(b"\n").and_then(|text| BASE64.decode(text).ok()?.try_into().ok());
    if !signed.is_some_and(|signature: [u8; 64]| key.verify(&bytes, &signature)) {
        return Err(unsigned());
    }
    let manifest = serde_json::from_slice::<Manifest>(&bytes);
    let manifest = manifest.map_err(|error| match serde_json::from_slice::<Format>(&bytes) {
        Ok(other) if other.format != manifest::FORMAT => newer(&other.format),
        _ => Fault::tampered(format!("the manifest is malformed: {error}")),
    })?;
    Ok((manifest, key))
}

#[derive(Deserialize)]
struct Key {
    key: String,
}

#[derive(Deserialize)]
struct Format {
    format: String,
}

fn newer(format: &str) -> Fault {
    Fault::new(FaultKind::Usage, format!("the format {format} is newer than this verifier"))
}

/// Roots that have to be found, by the number of records they cover, and those found.
struct Roots {
    expected: BTreeMap<u64, Hash>,
    proven: BTreeSet<u64>,
}

impl Roots {
    /// Holds the tree against what is expected at its size.
    fn check(&mut self, tree: &Frontier) -> Result<(), Fault> {
        let Some(root) = self.expected.get(&tree.size()) else { return Ok(()) };
        if tree.root() != *root {
            let what = format!("a record below {} is not what it was when the checkpoint was signed", tree.size());
            return Err(Fault::tampered(what));
        }
        self.proven.insert(tree.size());
        Ok(())
    }
}

/// Checks what the manifest says against itself, its checkpoints and the trusted one.
fn check_claims(manifest: &Manifest, key: &VerifyingKey, trusted: &Trusted) -> Result<Roots, Fault> {
    if manifest.format != manifest::FORMAT {
        return Err(newer(&manifest.format));
    }
    let note = believed(&manifest.checkpoint, key, "the checkpoint of the export")?;
    let checkpoint = note.checkpoint();
    let size = checkpoint.size;
    if !is_consistent(manifest, &checkpoint.log, size) {
        return Err(Fault::tampered("the manifest contradicts itself"));
    }
    let mut roots = Roots { expected: BTreeMap::from([(size, checkpoint.root)]), proven: BTreeSet::from([size]) };
    if let Some(previous) = &manifest.previous {
        let note = believed(&previous.checkpoint, key, "the checkpoint of the export before")?;
        let before = note.checkpoint();
        let is_continued = verify_consistency(before.size, size, &before.root, &checkpoint.root, &previous.proof);
        if before.log != manifest.log || !is_continued {
            let what = "the log does not continue that of the export before: its history was replaced";
            return Err(Fault::tampered(what));
        }
        roots.expected.insert(before.size, before.root);
        roots.proven.insert(before.size);
    }
    if let Some(text) = &trusted.checkpoint {
        let note = believed(text, key, "the trusted checkpoint")?;
        let seen = note.checkpoint();
        if seen.log != manifest.log {
            return Err(Fault::tampered("the trusted checkpoint is of another log"));
        }
        if seen.size > size {
            let what = format!("the export ends at {size} records, the trusted checkpoint covers {}", seen.size);
            return Err(Fault::new(FaultKind::Older, what));
        }
        if *roots.expected.entry(seen.size).or_insert(seen.root) != seen.root {
            let what = format!("at {} records another root was signed: the history was replaced", seen.size);
            return Err(Fault::tampered(what));
        }
    }
    Ok(roots)
}

fn is_consistent(manifest: &Manifest, log: &str, size: u64) -> bool {
    let Manifest { start, end, counts, range_proof: proof, files, .. } = manifest;
    let names: BTreeSet<&str> = files.iter().map(|listed| &*listed.name).collect();
    let is_name = |name: &&str| {
        name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
    };
    let needed = [manifest::RECORDS, manifest::LEAVES, manifest::CHECKPOINT];
    manifest.log == log
        && (proof.size, proof.start, proof.end) == (size, *start, *end)
        && proof.before().is_some()
        && counts.in_range == end - start
        && counts.matched <= counts.in_range
        && (manifest.filter.is_some() || counts.matched.checked_add(counts.retired) == Some(counts.in_range))
        && names.len() == files.len()
        && names.iter().all(is_name)
        && needed.iter().all(|name| names.contains(name))
        && names.contains(manifest::BODIES) == counts.bodies.is_some()
}

/// The walk over leaf hashes, records and bodies side by side.
struct Walk {
    leaves: BufReader<File>,
    records: BufReader<File>,
    bodies: Option<Bodies>,
    tree: Frontier,
}

impl Walk {
    fn new(folder: &Path, manifest: &Manifest) -> Result<Self, Fault> {
        let reader = |name: &str| open(folder.join(name)).map(|(file, _)| BufReader::with_capacity(256 * 1024, file));
        let leaves = reader(manifest::LEAVES)?;
        let length = leaves.get_ref().metadata().map_err(|error| Fault::unread(folder, &error))?.len();
        if Some(length) != (manifest.end - manifest.start).checked_mul(32) {
            return Err(Fault::tampered("`leaves.bin` has not one hash for each record of the range"));
        }
        let bodies = match manifest.counts.bodies {
            Some(_) => Some(Bodies::new(reader(manifest::BODIES)?)?),
            None => None,
        };
        let tree = manifest.range_proof.before().expect("its form was checked");
        Ok(Self { leaves, records: reader(manifest::RECORDS)?, bodies, tree })
    }

    fn run(
        mut self,
        manifest: &Manifest,
        roots: &mut Roots,
        progress: &mut Progress<'_>,
        report: &mut Report,
    ) -> Result<(), Fault> {
        let Manifest { start, end, counts, range_proof, .. } = manifest;
        let is_whole = manifest.filter.is_none() && counts.retired == 0;
        let mut line = Vec::new();
        roots.check(&self.tree)?;
        while self.next_line(&mut line)? {
            let expected = self.tree.size();
            let index = match leaf_head(&line) {
                Some((log, index)) if log == manifest.log && line.ends_with(b"\n") => Some(index),
                _ => None,
            };
            let belongs = |index: &u64| (expected..*end).contains(index) && (!is_whole || *index == expected);
            let Some(index) = index.filter(belongs) else {
                let what = format!("line {} of `records.jsonl` is not a record that belongs there", report.records + 1);
                return Err(Fault::at(expected, what));
            };
            self.grow(index, roots)?;
            let leaf = self.next_leaf()?;
            if leaf_hash(&line[..line.len() - 1]) != leaf {
                return Err(Fault::at(index, format!("record {index} is not what it was")));
            }
            self.tree.append(leaf);
            roots.check(&self.tree)?;
            if let Some(bodies) = &mut self.bodies {
                bodies.check(index, &line)?;
            }
            report.records += 1;
            progress(index + 1 - start, counts.in_range);
        }
        if report.records != counts.matched {
            let missing = (is_whole && self.tree.size() < *end).then(|| self.tree.size());
            let what = format!("`records.jsonl` has {} records of {}", report.records, counts.matched);
            return Err(Fault { index: missing, ..Fault::tampered(what) });
        }
        self.grow(*end, roots)?;
        if let (Some(bodies), Some(count)) = (&self.bodies, counts.bodies) {
            bodies.finish(count)?;
            report.bodies = count;
        }
        if range_proof.root_behind(self.tree) != roots.expected.get(&range_proof.size).copied() {
            return Err(Fault::tampered("the leaf hashes do not give the root of the checkpoint"));
        }
        progress(counts.in_range, counts.in_range);
        Ok(())
    }

    fn next_line(&mut self, line: &mut Vec<u8>) -> Result<bool, Fault> {
        line.clear();
        let read = self.records.read_until(b'\n', line);
        read.map(|read| read > 0).map_err(|error| Fault::unread(Path::new(manifest::RECORDS), &error))
    }

    fn next_leaf(&mut self) -> Result<Hash, Fault> {
        let mut leaf = Hash([0; 32]);
        let read = self.leaves.read_exact(&mut leaf.0);
        read.map_err(|error| Fault::unread(Path::new(manifest::LEAVES), &error))?;
        Ok(leaf)
    }

    /// Appends the leaf hashes of records that are not exported.
    fn grow(&mut self, until: u64, roots: &mut Roots) -> Result<(), Fault> {
        while self.tree.size() < until {
            let leaf = self.next_leaf()?;
            self.tree.append(leaf);
            roots.check(&self.tree)?;
        }
        Ok(())
    }
}

/// The lines of `bodies.jsonl`, each held against the record it belongs to.
struct Bodies {
    lines: BufReader<File>,
    next: Option<(u64, Hash)>,
    count: u64,
}

#[derive(Deserialize)]
struct BodyHash {
    body_hash: Hash,
}

impl Bodies {
    fn new(lines: BufReader<File>) -> Result<Self, Fault> {
        let mut bodies = Self { lines, next: None, count: 0 };
        bodies.advance()?;
        Ok(bodies)
    }

    fn advance(&mut self) -> Result<(), Fault> {
        let mut line = Vec::new();
        let read = self.lines.read_until(b'\n', &mut line);
        self.next = None;
        if read.map_err(|error| Fault::unread(Path::new(manifest::BODIES), &error))? == 0 {
            return Ok(());
        }
        self.count += 1;
        let malformed = || Fault::tampered(format!("line {} of `bodies.jsonl` is malformed", self.count));
        let body: BodyLine = serde_json::from_slice(&line).map_err(|_| malformed())?;
        let sealed = BASE64.decode(&body.sealed).map_err(|_| malformed())?;
        // One spelling for each body, so that no byte of the line can be changed unnoticed.
        if line != format!("{{\"index\":{},\"sealed\":\"{}\"}}\n", body.index, body.sealed).as_bytes() {
            return Err(malformed());
        }
        self.next = Some((body.index, Hash::of(&sealed)));
        Ok(())
    }

    fn check(&mut self, index: u64, record: &[u8]) -> Result<(), Fault> {
        let Some((belongs, hash)) = self.next.filter(|(belongs, _)| *belongs <= index) else { return Ok(()) };
        let told = serde_json::from_slice::<BodyHash>(record).ok().map(|told| told.body_hash);
        if belongs != index || told != Some(hash) {
            return Err(Fault::at(belongs, format!("the body of record {belongs} is not the one it was")));
        }
        self.advance()
    }

    fn finish(&self, count: u64) -> Result<(), Fault> {
        if let Some((belongs, _)) = self.next {
            let what = format!("`bodies.jsonl` has a body for {belongs}, which is not exported");
            return Err(Fault::at(belongs, what));
        }
        if self.count != count {
            return Err(Fault::tampered(format!("`bodies.jsonl` has {} bodies of {count}", self.count)));
        }
        Ok(())
    }
}

/// Holds every file against its length and hash in the manifest.
fn check_files(folder: &Path, manifest: &Manifest) -> Result<(), Fault> {
    for listed in &manifest.files {
        let (file, path) = open(folder.join(&listed.name))?;
        let found = hash_file(file).map_err(|error| Fault::unread(&path, &error))?;
        if found != (listed.size, listed.sha256) {
            return Err(Fault::tampered(format!("`{}` is not what it was", listed.name)));
        }
        if listed.name == manifest::CHECKPOINT && Hash::of(manifest.checkpoint.as_bytes()) != listed.sha256 {
            return Err(Fault::tampered("`checkpoint.txt` is not the checkpoint of the manifest"));
        }
    }
    Ok(())
}

/// Returns length and hash of a file.
fn hash_file(mut file: File) -> io::Result<(u64, Hash)> {
    let (mut digest, mut size) = (Sha256::new(), 0);
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok((size, Hash(digest.finalize().into())));
        }
        digest.update(&buffer[..read]);
        size += read as u64;
    }
}
