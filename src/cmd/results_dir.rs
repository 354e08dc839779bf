//! Output files. A file is written under a temporary name next to its path and then renamed. Anything that is not a file is
//! written *to*, never replaced: a symbolic link is followed, a FIFO or a device is opened, and `-` and `/dev/stdout` are
//! standard output.
//!
//! A scenario's results are first built in memory. The manifest is written last and has the SHA-256 of every other file, so
//! that a folder with a manifest is complete, and deleted files can be verified when they are made again. The report is made from
//! the other files and can be made again from them, so the manifest does not have its hash.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::experiment::Experiment;
use super::run_id;
use super::{DONE, Failure, inputs};
use crate::report::Outcome;
use crate::report::charts;
use crate::report::files::{self, FILES, Machine, Provenance};
use crate::report::html::{self, Folder, MANIFEST};
use evenkeel_config::terminal::is_stdout;
use evenkeel_core::units::hex;
use evenkeel_sim::scenario::acts_file;

/// Version, command and machine of this run, for the manifest.
fn provenance(experiment: &Experiment) -> Provenance {
    Provenance {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        commit: super::COMMIT.map(str::to_owned),
        command: experiment.plan.settings.command(&experiment.plan.name),
        machine: Machine {
            os: std::env::consts::OS.to_owned(),
            arch: std::env::consts::ARCH.to_owned(),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
        },
    }
}

/// The folder of an experiment in memory: every file but its report. Charts also as PNG with `png`.
pub fn folder(experiment: &Experiment, outcomes: &[Outcome<'_>], png: bool) -> Result<Folder> {
    let mut files = render(outcomes, png)?;
    files.insert(html::SOURCE.to_owned(), experiment.plan.source.clone().into_bytes());
    if !experiment.plan.settings.acts.is_empty() {
        files.insert(html::ACTS.to_owned(), acts_file::render(&experiment.plan.settings.acts).into_bytes());
    }
    let provenance = provenance(experiment);
    let hashes = files.iter().map(|(name, content)| (name.clone(), hex(&Sha256::digest(content)))).collect();
    let manifest =
        files::manifest(outcomes, &experiment.skipped, &run_id::of_experiment(experiment), &provenance, &hashes)?;
    files.insert(MANIFEST.to_owned(), manifest);
    Ok(Folder { files })
}

/// Writes an experiment's folder below `out`, with its report where `report` asks for it.
pub fn write(
    experiment: &Experiment,
    outcomes: &[Outcome<'_>],
    files: &Folder,
    out: &Path,
    report: bool,
) -> Result<()> {
    let page = if report { Some(html::page(&html::document(files)?, files)?) } else { None };
    let folder = out.join(experiment.folder());
    make_folder(&folder)?;
    remove(&folder.join(MANIFEST))?;
    // Files of an earlier run that this one does not write would not belong to these results.
    let drawn = charts::names(outcomes).flat_map(|name| ["svg", "png"].map(|ending| format!("{name}.{ending}")));
    let tables = FILES.iter().map(|file| file.name.to_owned());
    for name in tables.chain(drawn).chain([html::REPORT, html::ACTS].map(str::to_owned)) {
        if !files.files.contains_key(&name) {
            remove(&folder.join(name))?;
        }
    }
    for (name, content) in files.files.iter().filter(|(name, _)| *name != MANIFEST) {
        write_whole(&folder.join(name), content)?;
    }
    if let Some(page) = page {
        write_whole(&folder.join(html::REPORT), &page)?;
    }
    write_whole(&folder.join(MANIFEST), &files.files[MANIFEST])
}

/// Every table and chart of an experiment, by name.
fn render(outcomes: &[Outcome<'_>], png: bool) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut all = BTreeMap::new();
    for file in &FILES {
        if let Some(content) = (file.render)(outcomes)? {
            all.insert(file.name.to_owned(), content);
        }
    }
    for (name, svg) in charts::all(outcomes) {
        if png {
            let png = charts::png::from_svg(&svg).map_err(anyhow::Error::msg)?;
            all.insert(format!("{name}.png"), png);
        }
        all.insert(format!("{name}.svg"), svg.into_bytes());
    }
    Ok(all)
}

/// Removes the files of an earlier run. If the folder is a symbolic link, its target is removed and the link stays.
fn remove(path: &Path) -> Result<()> {
    match destination(path) {
        Ok(Destination::File(file)) if file.exists() => {
            std::fs::remove_file(&file).with_context(|| format!("cannot replace {}", file.display()))
        }
        _ => Ok(()),
    }
}

/// Whether the results of exactly this experiment are below `out`, with every file that its manifest names, and PNG with `png`.
pub fn is_complete(experiment: &Experiment, out: &Path, png: bool) -> bool {
    #[derive(Deserialize)]
    struct Written {
        runs: String,
        files: BTreeMap<String, String>,
    }
    let folder = out.join(experiment.folder());
    let manifest = inputs::read_text(&folder.join(MANIFEST), inputs::LONGEST_DATA).ok();
    let Some(written) = manifest.and_then(|text| serde_json::from_str::<Written>(&text).ok()) else { return false };
    let is_drawn = |name: &String| !png || written.files.contains_key(&name.replace(".svg", ".png"));
    written.runs == run_id::of_experiment(experiment)
        && written.files.keys().all(|name| is_drawn(name) && folder.join(name).exists())
}

/// Makes a folder and its parents, unless they exist.
pub fn make_folder(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))
}

/// A value as compressed JSON.
pub fn pack<T: serde::Serialize>(value: &T, level: Compression) -> Result<Vec<u8>> {
    // In one piece: the encoder clears its buffer at every write, and serde_json writes a few bytes at a time.
    let mut encoder = GzEncoder::new(Vec::new(), level);
    encoder.write_all(&serde_json::to_vec(value)?)?;
    Ok(encoder.finish()?)
}

/// Reads what [`pack`] wrote.
pub fn unpack<T: serde::de::DeserializeOwned>(file: std::fs::File) -> Result<T> {
    let mut text = Vec::new();
    GzDecoder::new(file).read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

/// The kind of destination of an output path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// A file that exists or can be made; symbolic links have been followed.
    File(PathBuf),
    /// Standard output.
    Stdout,
    /// Opened and written as it is: a FIFO, a device, an open descriptor (`/dev/fd/63`).
    Stream(PathBuf),
}

/// The target of a path, through symbolic links, also if the file does not exist yet.
pub fn destination(path: &Path) -> io::Result<Destination> {
    // The same limit as Linux has.
    const LINKS: u32 = 40;
    let mut path = path.to_owned();
    for _ in 0..LINKS {
        if is_stdout(&path) {
            return Ok(Destination::Stdout);
        }
        if path == Path::new("/dev/stderr") || path.starts_with("/dev/fd") || path.starts_with("/proc/self/fd") {
            return Ok(Destination::Stream(path));
        }
        match std::fs::symlink_metadata(&path) {
            Ok(found) if found.is_symlink() => {
                let target = std::fs::read_link(&path)?;
                path = path.parent().unwrap_or(Path::new("")).join(target);
            }
            Ok(found) if found.is_file() => return Ok(Destination::File(path)),
            Ok(found) if found.is_dir() => {
                return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a folder"));
            }
            Ok(found) if is_disk(&found) => return Err(io::Error::other("it is a disk")),
            Ok(_) => return Ok(Destination::Stream(path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Destination::File(path)),
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("too many symbolic links, perhaps in a circle"))
}

/// Whether it is a block device: its content would be overwritten.
fn is_disk(found: &std::fs::Metadata) -> bool {
    #[cfg(unix)]
    return std::os::unix::fs::FileTypeExt::is_block_device(&found.file_type());
    #[cfg(not(unix))]
    return false;
}

/// Whether two paths lead to one file, which may not exist yet.
pub fn same_file(a: &Path, b: &Path) -> bool {
    let place = |path: &Path| match destination(path) {
        Ok(Destination::File(file)) => {
            let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            Some(folder.canonicalize().ok()?.join(file.file_name()?))
        }
        _ => None,
    };
    matches!((place(a), place(b)), (Some(a), Some(b)) if a == b)
}

/// Refuses to overwrite an existing file, unless with `force`. FIFOs, devices and standard output are always accepted.
pub fn refuse_existing(path: &Path, force: bool) -> Result<(), Failure> {
    match destination(path) {
        Ok(Destination::File(file)) if file.exists() && !force => {
            let shown = path.display();
            Err(Failure::Usage(format!("`{shown}` exists\n  help: choose another name, or --force")))
        }
        Ok(_) => Ok(()),
        Err(error) => Err(Failure::Usage(format!("cannot write `{}`: {error}", path.display()))),
    }
}

/// An output that is being written. A file is renamed to its path in [`Output::finish`]; dropped before that, nothing has
/// changed.
pub struct Output {
    path: PathBuf,
    sink: Sink,
}

enum Sink {
    File(BufWriter<tempfile::NamedTempFile>, PathBuf),
    Stdout(BufWriter<io::Stdout>),
    Stream(BufWriter<std::fs::File>),
}

impl Output {
    /// Opens the destination of `path`. Opening a FIFO waits for its reader.
    pub fn create(path: &Path) -> Result<Output> {
        let sink = Sink::open(path).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Output { path: path.to_owned(), sink })
    }

    /// Everything is written: the file is renamed to its path.
    pub fn finish(self) -> Result<()> {
        let Output { path, mut sink } = self;
        let finished = match &mut sink {
            Sink::File(writer, _) => writer.flush().and_then(|()| writer.get_ref().as_file().sync_data()),
            Sink::Stdout(writer) => {
                let flushed = writer.flush();
                quietly(flushed)
            }
            Sink::Stream(writer) => writer.flush(),
        };
        let placed = finished.and_then(|()| match sink {
            Sink::File(writer, target) => {
                let file = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
                file.persist(target).map(drop).map_err(|error| error.error)
            }
            Sink::Stdout(_) | Sink::Stream(_) => Ok(()),
        });
        placed.with_context(|| format!("cannot write {}", path.display()))
    }
}

impl Sink {
    fn open(path: &Path) -> io::Result<Sink> {
        match destination(path)? {
            Destination::Stdout => Ok(Sink::Stdout(BufWriter::new(io::stdout()))),
            Destination::Stream(path) => {
                let is_file = std::fs::metadata(&path).is_ok_and(|found| found.is_file());
                let mut options = std::fs::OpenOptions::new();
                // A descriptor may be of a file that the caller opened: its content is kept.
                let file = if is_file { options.append(true) } else { options.write(true) }.open(path)?;
                Ok(Sink::Stream(BufWriter::new(file)))
            }
            Destination::File(target) => {
                let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty());
                let mut builder = tempfile::Builder::new();
                builder.prefix(".evenkeel-").suffix(".partial");
                #[cfg(unix)]
                {
                    use std::os::unix::fs::PermissionsExt;
                    // Temporary files are private; outputs get the permissions of new files, by the umask.
                    builder.permissions(std::fs::Permissions::from_mode(0o666));
                }
                let file = builder.tempfile_in(folder.unwrap_or(Path::new(".")))?;
                if let Ok(before) = std::fs::metadata(&target) {
                    file.as_file().set_permissions(before.permissions())?;
                }
                Ok(Sink::File(BufWriter::new(file), target))
            }
        }
    }
}

/// A closed reader of standard output (`| head`) ends the program without a message.
fn quietly<T>(result: io::Result<T>) -> io::Result<T> {
    if result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
        std::process::exit(DONE.into());
    }
    result
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.sink {
            Sink::File(writer, _) => writer.write(bytes),
            Sink::Stdout(writer) => quietly(writer.write(bytes)),
            Sink::Stream(writer) => writer.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.sink {
            Sink::File(writer, _) => writer.flush(),
            Sink::Stdout(writer) => quietly(writer.flush()),
            Sink::Stream(writer) => writer.flush(),
        }
    }
}

/// Writes a file atomically; see [`Destination`] for anything that is not a file.
pub fn write_whole(path: &Path, content: &[u8]) -> Result<()> {
    let mut output = Output::create(path)?;
    output.write_all(content).with_context(|| format!("cannot write {}", path.display()))?;
    output.finish()
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn links_are_followed() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let file = |name: &str| Destination::File(at(name));
        std::fs::write(at("file"), "x").unwrap();
        for (name, target) in [
            ("link", "file"),
            ("chain", "link"),
            ("dangling", "new"),
            ("out", "/dev/stdout"),
            ("circle", "circle"),
            ("null", "/dev/null"),
            ("here", "."),
        ] {
            symlink(target, at(name)).unwrap();
        }
        assert_eq!(destination(&at("file")).unwrap(), file("file"));
        assert_eq!(destination(&at("chain")).unwrap(), file("file"));
        assert_eq!(destination(&at("dangling")).unwrap(), file("new"));
        assert_eq!(destination(&at("other")).unwrap(), file("other"));
        assert_eq!(destination(&at("out")).unwrap(), Destination::Stdout);
        assert_eq!(destination(Path::new("-")).unwrap(), Destination::Stdout);
        assert_eq!(destination(&at("null")).unwrap(), Destination::Stream("/dev/null".into()));
        assert_eq!(destination(Path::new("/dev/fd/63")).unwrap(), Destination::Stream("/dev/fd/63".into()));
        assert!(destination(&at("circle")).is_err() && destination(&at("here")).is_err());
    }

    #[test]
    fn an_unfinished_output_changes_nothing() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "before").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let mut output = Output::create(&path).unwrap();
        output.write_all(b"half").unwrap();
        drop(output);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "before");
        write_whole(&path, b"after").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "after");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    }
}
