//! Part files of the file sinks: their names, writing and compressing them, and
//! committing, cutting and deleting them. When that is done is the business of
//! `file_sink`.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};

use crate::config::job::{Compression, FileOutput};

use super::{
    ConnectorContext, ConnectorError,
    file_sink::{owns, split_extension},
    files::cannot,
};

/// How much of a part's end tells it from others.
const TAIL: u64 = 4096;
/// How much compressed output is collected before it is written.
const PACKED: usize = 64 * 1024;

/// A part up to a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Part {
    /// The subtask that began it.
    pub(crate) subtask: u32,
    /// Its name once it is committed.
    pub(crate) name: String,
    /// Its name until then.
    pending: String,
    /// Bytes that the checkpoint covers.
    pub(crate) len: u64,
    /// Hash of the last 4 KiB of these.
    tail: [u8; 32],
}

/// Where a sink's parts are, and what they are called.
#[derive(Debug, Clone)]
pub(crate) struct Directory {
    path: PathBuf,
    /// The path's last part: `out.jsonl.gz`, split as `out` and `.jsonl.gz`.
    file: String,
    stem: String,
    extension: String,
    compression: Compression,
    rolls: bool,
    context: ConnectorContext,
}

impl Directory {
    /// Makes the directory if it is missing.
    pub(crate) fn open(
        output: &FileOutput,
        context: ConnectorContext,
    ) -> Result<Self, ConnectorError> {
        let refuse = |reason: &str| {
            let source = io::Error::new(io::ErrorKind::InvalidInput, reason.to_owned());
            Err(ConnectorError::Io { action: "write", path: output.path.clone(), source })
        };
        let Some(name) = output.path.file_name() else {
            return refuse("it has no file name; add one, like `results.jsonl`");
        };
        if output.path.is_dir() {
            return refuse("it is a directory; add a file's name, like `results.jsonl`");
        }
        let path = match output.path.parent() {
            Some(parent) if parent != Path::new("") => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        fs::create_dir_all(&path).map_err(cannot("create the directory", &path))?;
        let (stem, extension) = split_extension(&output.path);
        let file = name.to_string_lossy().into_owned();
        let (compression, rolls) = (output.compression, output.roll.is_some());
        Ok(Self { path, file, stem, extension, compression, rolls, context })
    }

    /// The name that the job file gave.
    pub(crate) fn file_name(&self) -> &str {
        &self.file
    }

    /// An error about the whole output.
    pub(crate) fn cannot_resume(&self, reason: String) -> ConnectorError {
        ConnectorError::CannotResume { path: self.path.join(&self.file), reason }
    }

    /// The visible and the pending name of a part. Pending names begin with the
    /// whole name that the job file gives, so that two sinks never share one.
    fn names(&self, number: Option<u64>) -> (String, String) {
        let Self {
            file, stem, extension, context: ConnectorContext { subtask, parallelism }, ..
        } = self;
        match number {
            Some(number) => {
                (self.numbered(*subtask, number), format!(".{file}.{subtask}-{number:05}.pending"))
            }
            None if *parallelism > 1 => {
                (format!("{stem}-{subtask}{extension}"), format!(".{file}.{subtask}.pending"))
            }
            None => (file.clone(), format!(".{file}.{subtask}.pending")),
        }
    }

    fn numbered(&self, subtask: u32, number: u64) -> String {
        format!("{}-{subtask}-{number:05}{}", self.stem, self.extension)
    }

    /// Checks that files can be made.
    pub(crate) fn probe(&self) -> Result<(), ConnectorError> {
        let path = self.path.join(self.names(None).1);
        File::create(&path).map_err(cannot("create", &path))?;
        fs::remove_file(&path).map_err(cannot("delete", &path))
    }

    /// Deletes this subtask's share of pending parts, except those that a
    /// checkpoint knows.
    pub(crate) fn remove_pending(&self, known: &[&Part]) -> Result<(), ConnectorError> {
        for entry in fs::read_dir(&self.path).map_err(cannot("read", &self.path))? {
            let entry = entry.map_err(cannot("read", &self.path))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let subtask = name
                .strip_prefix(&format!(".{}.", self.file))
                .and_then(|rest| rest.strip_suffix(".pending"))
                .and_then(|id| id.split('-').next()?.parse::<u32>().ok());
            let ours = subtask.is_some_and(|s| owns(self.context, s));
            if ours && !known.iter().any(|part| part.pending == name) {
                let path = entry.path();
                fs::remove_file(&path).map_err(cannot("delete", &path))?;
            }
        }
        Ok(())
    }

    /// Deletes a subtask's numbered parts from one number up to the first that is
    /// not there; returns how many.
    pub(crate) fn remove_parts_from(
        &self,
        subtask: u32,
        first: u64,
    ) -> Result<u64, ConnectorError> {
        debug_assert!(self.rolls, "only then parts are numbered");
        for number in first.. {
            let path = self.path.join(self.numbered(subtask, number));
            match fs::remove_file(&path) {
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(number - first),
                Err(e) => return Err(cannot("delete", &path)(e)),
            }
        }
        Ok(0)
    }

    /// Makes a complete part visible. Changes nothing if it is already.
    pub(crate) fn commit(&self, part: &Part) -> Result<(), ConnectorError> {
        let (pending, visible) = (self.path.join(&part.pending), self.path.join(&part.name));
        if self.holds(&pending, part)? == Some(true) {
            fs::rename(&pending, &visible).map_err(cannot("rename a pending part to", &visible))?;
            return self.sync();
        }
        match self.holds(&visible, part)? {
            Some(true) => Ok(()),
            // It was made visible once, since only that takes a pending part away: whoever it
            // was meant for has taken it, or the checkpoint came here from another place.
            None => {
                tracing::warn!(
                    "{} was finished before and is not there any more",
                    visible.display()
                );
                Ok(())
            }
            Some(false) => {
                let reason = "it is not what the checkpoint wrote; another run may have replaced \
                              it: start the job afresh"
                    .to_owned();
                Err(ConnectorError::CannotResume { path: visible, reason })
            }
        }
    }

    /// Whether a file is exactly the part; `None` if there is no file.
    fn holds(&self, path: &Path, part: &Part) -> Result<Option<bool>, ConnectorError> {
        match File::open(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(cannot("read", path)(e)),
            Ok(mut file) => {
                let same = matches_at(&mut file, part, true).map_err(cannot("read", path))?;
                Ok(Some(same))
            }
        }
    }

    /// Opens a part that goes on, and cuts off what the checkpoint does not cover.
    pub(crate) fn reopen(&self, part: &Part) -> Result<File, ConnectorError> {
        let (pending, visible) = (self.path.join(&part.pending), self.path.join(&part.name));
        if !pending.exists() && visible.exists() {
            // An older checkpoint than the one that made it visible: it goes on as before,
            // if it is really the same file.
            let mut file = File::open(&visible).map_err(cannot("read", &visible))?;
            if matches_at(&mut file, part, false).map_err(cannot("read", &visible))? {
                fs::rename(&visible, &pending).map_err(cannot("take back", &visible))?;
                self.sync()?;
            }
        }
        let refuse = |reason: &str| {
            let reason =
                format!("{reason}; another run may have replaced it: start the job afresh");
            Err(ConnectorError::CannotResume { path: pending.clone(), reason })
        };
        let mut file = match OpenOptions::new().read(true).write(true).open(&pending) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return refuse("the pending part is gone");
            }
            Err(e) => return Err(cannot("write", &pending)(e)),
        };
        let len = file.metadata().map_err(cannot("read", &pending))?.len();
        if len < part.len {
            return refuse(&format!(
                "it has {len} bytes, and the checkpoint covers {}: its end is lost",
                part.len
            ));
        }
        if !matches_at(&mut file, part, false).map_err(cannot("read", &pending))? {
            return refuse("it does not begin with what the checkpoint wrote");
        }
        file.set_len(part.len).map_err(cannot("truncate", &pending))?;
        file.seek(SeekFrom::End(0)).map_err(cannot("write", &pending))?;
        Ok(file)
    }

    /// Makes names durable.
    fn sync(&self) -> Result<(), ConnectorError> {
        File::open(&self.path).and_then(|d| d.sync_all()).map_err(cannot("sync", &self.path))
    }
}

/// Hash of the last bytes before `len`; `None` if the file is shorter.
fn tail_of(file: &mut File, len: u64) -> io::Result<Option<[u8; 32]>> {
    if file.metadata()?.len() < len {
        return Ok(None);
    }
    let size = len.min(TAIL);
    let mut tail = Vec::new();
    file.seek(SeekFrom::Start(len - size))?;
    file.take(size).read_to_end(&mut tail)?;
    Ok(Some(*blake3::hash(&tail).as_bytes()))
}

fn matches_at(file: &mut File, part: &Part, exactly: bool) -> io::Result<bool> {
    let length_fits = !exactly || file.metadata()?.len() == part.len;
    Ok(length_fits && tail_of(file, part.len)? == Some(part.tail))
}

/// Compresses into memory. Each checkpoint ends a gzip member or Zstandard
/// frame: what follows it can be cut off.
enum Packer {
    Gzip(GzEncoder<Vec<u8>>),
    Zstd(zstd::Encoder<'static, Vec<u8>>),
}

impl Packer {
    fn new(compression: Compression) -> io::Result<Option<Self>> {
        Ok(match compression {
            Compression::None => None,
            Compression::Gzip => {
                Some(Self::Gzip(GzEncoder::new(Vec::new(), flate2::Compression::default())))
            }
            Compression::Zstd => {
                let level = zstd::DEFAULT_COMPRESSION_LEVEL;
                Some(Self::Zstd(zstd::Encoder::new(Vec::new(), level)?))
            }
        })
    }

    fn write(&mut self, data: &[u8]) -> io::Result<&mut Vec<u8>> {
        match self {
            Self::Gzip(encoder) => encoder.write_all(data).map(|()| encoder.get_mut()),
            Self::Zstd(encoder) => encoder.write_all(data).map(|()| encoder.get_mut()),
        }
    }

    fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Self::Gzip(encoder) => encoder.finish(),
            Self::Zstd(encoder) => encoder.finish(),
        }
    }
}

/// Writes a part.
pub(crate) struct Writer {
    file: File,
    path: PathBuf,
    directory: Directory,
    part: Part,
    packer: Option<Packer>,
    /// Whether something was written since the last checkpoint.
    dirty: bool,
    /// Whether the file's name is durable.
    named: bool,
}

impl Writer {
    /// Begins a part, numbered if the sink rolls.
    pub(crate) fn create(
        directory: &Directory,
        number: Option<u64>,
    ) -> Result<Self, ConnectorError> {
        let (name, pending) = directory.names(number);
        let path = directory.path.join(&pending);
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path);
        let file = file.map_err(cannot("create", &path))?;
        let subtask = directory.context.subtask;
        let part = Part { subtask, name, pending, len: 0, tail: *blake3::hash(b"").as_bytes() };
        let directory = directory.clone();
        Ok(Self { file, path, directory, part, packer: None, dirty: true, named: false })
    }

    /// Goes on with a part.
    pub(crate) fn resume(file: File, part: Part, directory: &Directory) -> Self {
        let (path, directory) = (directory.path.join(&part.pending), directory.clone());
        // Not known to be clean: the file may just have been cut.
        Self { file, path, directory, part, packer: None, dirty: true, named: true }
    }

    /// Appends.
    pub(crate) fn write(&mut self, data: &[u8]) -> Result<(), ConnectorError> {
        if data.is_empty() {
            return Ok(());
        }
        self.dirty = true;
        let written = self.pack(data);
        written.map_err(cannot("write", &self.path))
    }

    fn pack(&mut self, data: &[u8]) -> io::Result<()> {
        if self.packer.is_none() {
            self.packer = Packer::new(self.directory.compression)?;
        }
        let Some(packer) = &mut self.packer else { return self.file.write_all(data) };
        let packed = packer.write(data)?;
        if packed.len() >= PACKED {
            self.file.write_all(packed)?;
            packed.clear();
        }
        Ok(())
    }

    /// Makes everything so far durable, such that the file could end here.
    pub(crate) fn end_frame(&mut self) -> Result<(), ConnectorError> {
        if !self.dirty {
            return Ok(());
        }
        let mut sync = || {
            let packer = match self.packer.take() {
                // A packed file without a single frame is none that could be unpacked.
                None if self.file.stream_position()? == 0 => {
                    Packer::new(self.directory.compression)?
                }
                packer => packer,
            };
            if let Some(packer) = packer {
                self.file.write_all(&packer.finish()?)?;
            }
            self.file.sync_data()?;
            self.part.len = self.file.stream_position()?;
            let tail = tail_of(&mut self.file, self.part.len)?;
            self.part.tail = tail.ok_or(io::ErrorKind::UnexpectedEof)?;
            self.file.seek(SeekFrom::Start(self.part.len)).map(|_| ())
        };
        sync().map_err(cannot("write", &self.path))?;
        if !self.named {
            self.directory.sync()?;
            self.named = true;
        }
        self.dirty = false;
        Ok(())
    }

    /// The part as of the last [`end_frame`](Self::end_frame).
    pub(crate) fn part(&self) -> &Part {
        &self.part
    }

    /// Closes the file.
    pub(crate) fn into_part(self) -> Part {
        self.part
    }
}
