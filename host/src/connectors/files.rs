//! Reading files: opening, decompressing (told by the first bytes), lines of
//! bounded length, and fingerprints that tell whether a file is still the same.
//! Knows nothing of what the lines mean.

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use flate2::bufread::MultiGzDecoder;
use serde::{Deserialize, Serialize};

use super::ConnectorError;

/// How much is read at once.
const CHUNK: usize = 128 * 1024;
/// How much of an overlong line is kept to show.
const SHOWN: usize = 1024;
/// How much of a file's beginning and end its fingerprint covers.
const PRINTED: u64 = 64 * 1024;

/// Makes a system's error one that says what was tried, and where.
pub(crate) fn cannot(
    action: &'static str,
    path: &Path,
) -> impl FnOnce(io::Error) -> ConnectorError {
    move |source| ConnectorError::Io { action, path: path.to_owned(), source }
}

/// Opens a regular file for reading.
pub(crate) fn open(path: &Path) -> Result<File, ConnectorError> {
    // Looked at before it is opened, since opening a named pipe waits.
    let meta = std::fs::metadata(path).map_err(cannot("read", path))?;
    let refuse = |reason: &str| {
        let source = io::Error::new(io::ErrorKind::InvalidInput, reason.to_owned());
        Err(ConnectorError::Io { action: "read", path: path.to_owned(), source })
    };
    if meta.is_dir() {
        return refuse("it is a directory; to read the files in it, write `DIRECTORY/*`");
    }
    if !meta.is_file() {
        return refuse("it is not a regular file, so it cannot be read again after a failure");
    }
    File::open(path).map_err(cannot("read", path))
}

/// Tells whether a file is still what it was: its length, and a hash of its
/// first and last 64 KiB. An edit of the same length deep inside a large file
/// goes unnoticed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fingerprint {
    len: u64,
    hash: [u8; 32],
}

impl Fingerprint {
    /// Reads it; leaves the file at its beginning.
    fn of(file: &mut File) -> io::Result<Self> {
        let len = file.metadata()?.len();
        let mut hasher = blake3::Hasher::new();
        let mut part = Vec::new();
        for from in [0, len.saturating_sub(PRINTED)] {
            part.clear();
            file.seek(SeekFrom::Start(from))?;
            file.take(PRINTED).read_to_end(&mut part)?;
            hasher.update(&part);
        }
        file.rewind()?;
        Ok(Self { len, hash: *hasher.finalize().as_bytes() })
    }
}

/// Where bytes come from.
enum Input {
    Plain(File),
    Gzip(Box<MultiGzDecoder<BufReader<File>>>),
    Zstd(zstd::Decoder<'static, BufReader<File>>),
    /// What cannot be sought: standard input.
    Stream(Box<dyn Read + Send>),
}

impl Input {
    fn detect(mut file: File) -> io::Result<Self> {
        let mut magic = [0; 4];
        let mut got = 0;
        while got < magic.len() {
            match file.read(&mut magic[got..])? {
                0 => break,
                n => got += n,
            }
        }
        file.rewind()?;
        Ok(match magic {
            [0x1f, 0x8b, ..] => {
                Self::Gzip(Box::new(MultiGzDecoder::new(BufReader::with_capacity(CHUNK, file))))
            }
            // A frame, or one of the skippable frames that some tools begin with.
            [0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18] => {
                Self::Zstd(zstd::Decoder::new(file)?)
            }
            _ => Self::Plain(file),
        })
    }

    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = match self {
                Self::Plain(file) => file.read(into),
                Self::Gzip(decoder) => decoder.read(into),
                Self::Zstd(decoder) => decoder.read(into),
                Self::Stream(stream) => stream.read(into),
            };
            match read {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => return done,
            }
        }
    }

    /// The compression's name, if there is any.
    fn compression(&self) -> Option<&'static str> {
        match self {
            Self::Gzip(_) => Some("gzip"),
            Self::Zstd(_) => Some("zstd"),
            Self::Plain(_) | Self::Stream(_) => None,
        }
    }
}

/// One line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    /// Without its ending (`\n` or `\r\n`), and without a byte order mark. Of an
    /// overlong line only the beginning.
    pub(crate) bytes: &'a [u8],
    /// From 1.
    pub(crate) number: u64,
    /// Its whole length in bytes, if that is more than the limit.
    pub(crate) overlong: Option<u64>,
}

/// The lines of a file.
pub(crate) struct Lines {
    path: PathBuf,
    input: Input,
    /// What was read and not yet taken is `buffer[start..end]`.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Bytes (decompressed) and lines taken so far.
    offset: u64,
    line: u64,
    max_line: usize,
}

impl Lines {
    /// Opens a file at its beginning. Lines longer than `max_line` bytes are cut.
    pub(crate) fn open(
        path: &Path,
        max_line: usize,
    ) -> Result<(Self, Fingerprint), ConnectorError> {
        let mut file = open(path)?;
        let print = Fingerprint::of(&mut file).map_err(cannot("read", path))?;
        let input = Input::detect(file).map_err(cannot("read", path))?;
        Ok((Self::new(path, input, max_line), print))
    }

    /// The lines of something that can be read only once.
    pub(crate) fn stream(name: &Path, from: Box<dyn Read + Send>, max_line: usize) -> Self {
        Self::new(name, Input::Stream(from), max_line)
    }

    fn new(path: &Path, input: Input, max_line: usize) -> Self {
        let (path, buffer) = (path.to_owned(), vec![0; CHUNK]);
        Self { path, input, buffer, start: 0, end: 0, offset: 0, line: 0, max_line }
    }

    /// Which file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// How long a line may be, in bytes.
    pub(crate) fn max_line(&self) -> usize {
        self.max_line
    }

    /// Bytes (decompressed) and lines taken so far.
    pub(crate) fn position(&self) -> (u64, u64) {
        (self.offset, self.line)
    }

    /// Whether a whole line is at hand without reading.
    pub(crate) fn has_line(&self) -> bool {
        memchr::memchr(b'\n', &self.buffer[self.start..self.end]).is_some()
    }

    /// The next line, or `None` at the end. The last one may lack its ending.
    pub(crate) fn next(&mut self) -> Result<Option<Line<'_>>, ConnectorError> {
        let mut searched = 0;
        loop {
            let unread = &self.buffer[self.start..self.end];
            if let Some(i) = memchr::memchr(b'\n', &unread[searched..]) {
                let len = searched + i;
                return if len > self.max_line {
                    self.cut().map(Some)
                } else {
                    Ok(Some(self.take(len, 1)))
                };
            }
            searched = unread.len();
            if searched > self.max_line {
                return self.cut().map(Some);
            }
            if !self.fill()? {
                return Ok((searched > 0).then(|| self.take(searched, 0)));
            }
        }
    }

    /// Goes to a place that [`position`](Self::position) gave. Compressed files
    /// are decompressed up to there; not for streams.
    pub(crate) fn seek(&mut self, offset: u64, line: u64) -> Result<(), ConnectorError> {
        if let Input::Plain(file) = &mut self.input {
            file.seek(SeekFrom::Start(offset)).map_err(cannot("read", &self.path))?;
            (self.start, self.end) = (0, 0);
        } else {
            let mut left = offset.saturating_sub(self.offset);
            while left > 0 {
                if self.start == self.end && !self.fill()? {
                    let reason = format!("it now ends before byte {offset}, where the job stood");
                    return Err(ConnectorError::CannotResume { path: self.path.clone(), reason });
                }
                let here = self.end - self.start;
                let step = usize::try_from(left).map_or(here, |left| left.min(here));
                self.start += step;
                left -= step as u64;
            }
        }
        (self.offset, self.line) = (offset, line);
        Ok(())
    }

    /// Takes a line of `len` bytes and its ending.
    fn take(&mut self, len: usize, ending: usize) -> Line<'_> {
        let mut bytes = self.start..self.start + len;
        if ending == 1 && self.buffer[bytes.clone()].ends_with(b"\r") {
            bytes.end -= 1;
        }
        if self.offset == 0 && self.buffer[bytes.clone()].starts_with(b"\xef\xbb\xbf") {
            bytes.start += 3;
        }
        self.start += len + ending;
        self.offset += (len + ending) as u64;
        self.line += 1;
        Line { bytes: &self.buffer[bytes], number: self.line, overlong: None }
    }

    /// Takes an overlong line: keeps its beginning, skips to its end.
    fn cut(&mut self) -> Result<Line<'_>, ConnectorError> {
        let unread = &self.buffer[self.start..self.end];
        let here = memchr::memchr(b'\n', unread).unwrap_or(unread.len());
        let shown = unread[..here.min(SHOWN)].to_vec();
        let mut len = 0_u64;
        loop {
            let unread = &self.buffer[self.start..self.end];
            let newline = memchr::memchr(b'\n', unread);
            let step = newline.map_or(unread.len(), |i| i + 1);
            self.start += step;
            self.offset += step as u64;
            len += newline.map_or(step, |i| i) as u64;
            if newline.is_some() || !self.fill()? {
                break;
            }
        }
        self.line += 1;
        // The beginning moves to where nothing is waiting, so that it can be lent.
        self.make_room(shown.len());
        let at = self.start - shown.len();
        self.buffer[at..self.start].copy_from_slice(&shown);
        Ok(Line { bytes: &self.buffer[at..self.start], number: self.line, overlong: Some(len) })
    }

    /// Makes sure that so many bytes before the unread ones are free.
    fn make_room(&mut self, len: usize) {
        if self.start >= len {
            return;
        }
        let shift = len - self.start;
        if self.end + shift > self.buffer.len() {
            self.buffer.resize(self.end + shift, 0);
        }
        self.buffer.copy_within(self.start..self.end, len);
        self.start += shift;
        self.end += shift;
    }

    /// Reads more; false at the end.
    fn fill(&mut self) -> Result<bool, ConnectorError> {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.end == self.buffer.len() {
            // Bounded: a line past the limit is cut and not collected.
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        match self.input.read(&mut self.buffer[self.end..]) {
            Ok(got) => {
                self.end += got;
                Ok(got > 0)
            }
            Err(error) => Err(self.explain(error)),
        }
    }

    fn explain(&self, error: io::Error) -> ConnectorError {
        let Some(compression) = self.input.compression() else {
            return ConnectorError::Io { action: "read", path: self.path.clone(), source: error };
        };
        let reason = match error.kind() {
            io::ErrorKind::UnexpectedEof => format!(
                "the {compression} data ends too early, inside this line; the file is truncated: \
                 fetch it again (the lines before were read)"
            ),
            _ => format!("the {compression} data is damaged in or after this line: {error}"),
        };
        ConnectorError::Malformed { path: self.path.clone(), line: Some(self.line + 1), reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    fn stream(data: &[u8], max_line: usize) -> Lines {
        Lines::stream(Path::new("test"), Box::new(io::Cursor::new(data.to_vec())), max_line)
    }

    fn all(mut lines: Lines) -> Result<Vec<Vec<u8>>, ConnectorError> {
        let mut out = Vec::new();
        while let Some(line) = lines.next()? {
            out.push(line.bytes.to_vec());
        }
        Ok(out)
    }

    pub(crate) fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn lines_lose_their_endings_and_the_byte_order_mark() {
        let got = all(stream(b"\xef\xbb\xbfone\r\n\ntwo\rtwo\nlast\r", 100)).unwrap();
        assert_eq!(got, [&b"one"[..], b"", b"two\rtwo", b"last\r"]);
        assert!(all(stream(b"", 100)).unwrap().is_empty());
    }

    #[test]
    fn an_endless_line_is_cut_without_being_held() {
        let endless = Box::new(io::repeat(b'x').take(50_000_000).chain(&b"\nnext"[..]));
        let mut lines = Lines::stream(Path::new("test"), endless, 10_000);
        let line = lines.next().unwrap().unwrap();
        assert_eq!((line.bytes.len(), line.overlong), (SHOWN, Some(50_000_000)));
        assert_eq!(lines.next().unwrap().unwrap().bytes, b"next");
        assert_eq!(lines.position(), (50_000_005, 2));
        assert!(lines.buffer.len() <= 4 * CHUNK);
    }

    #[test]
    fn gzip_members_and_zstd_frames_read_as_one_file() {
        let dir = tempfile::tempdir().unwrap();
        let frames =
            |encode: &dyn Fn(&[u8]) -> Vec<u8>| [encode(b"a\nb"), encode(b"c\nd\n")].concat();
        for (name, data) in [
            ("gzip", frames(&|data| gzip(data))),
            ("zstd", frames(&|data| zstd::encode_all(data, 3).unwrap())),
            ("plain", b"a\nbc\nd\n".to_vec()),
        ] {
            let path = dir.path().join(name);
            std::fs::write(&path, data).unwrap();
            let (lines, _) = Lines::open(&path, 100).unwrap();
            assert_eq!(all(lines).unwrap(), [&b"a"[..], b"bc", b"d"], "{name}");
        }
    }

    #[test]
    fn a_truncated_file_names_itself_and_the_line() {
        let dir = tempfile::tempdir().unwrap();
        // Random digits, so that half of the compressed bytes hold about half of the lines.
        let mut hasher = blake3::Hasher::new().finalize_xof();
        let mut noise = vec![0; 100_000];
        hasher.fill(&mut noise);
        let text: Vec<u8> =
            noise.chunks(10).flat_map(|c| format!("{c:?}\n").into_bytes()).collect();
        for (name, data) in
            [("gzip", gzip(&text)), ("zstd", zstd::encode_all(&text[..], 3).unwrap())]
        {
            let path = dir.path().join(name);
            std::fs::write(&path, &data[..data.len() / 2]).unwrap();
            let mut lines = Lines::open(&path, 1000).unwrap().0;
            let mut good = Vec::new();
            let error = loop {
                match lines.next() {
                    Ok(line) => good.push(line.expect("an error before the end").bytes.to_vec()),
                    Err(error) => break error,
                }
            };
            assert!(good.len() > 1000, "{name}: only {}", good.len());
            assert!(good.iter().zip(text.split(|&b| b == b'\n')).all(|(a, b)| a == b));
            let text = error.to_string();
            let place = format!(
                "{}, line {}: the {name} data ends too early",
                path.display(),
                good.len() + 1
            );
            assert!(text.starts_with(&place), "{text}");
        }
    }

    #[test]
    fn a_directory_and_a_missing_file_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let error = open(dir.path()).unwrap_err().to_string();
        assert!(error.contains("it is a directory"), "{error}");
        let error = open(&dir.path().join("gone")).unwrap_err().to_string();
        assert!(error.contains("gone") && error.contains("No such file"), "{error}");
    }

    proptest! {
        #[test]
        fn lines_are_those_of_the_whole_text(text in "[ab\n]{0,60}", max_line in 1_usize..6) {
            let mut lines = stream(text.as_bytes(), max_line);
            let mut expected = text.split('\n').collect::<Vec<_>>();
            if expected.last() == Some(&"") {
                expected.pop();
            }
            let mut offset = 0;
            for (i, whole) in expected.iter().enumerate() {
                let line = lines.next().unwrap().unwrap();
                prop_assert_eq!(line.number, i as u64 + 1);
                prop_assert_eq!(line.bytes, whole.as_bytes());
                let overlong = (whole.len() > max_line).then_some(whole.len() as u64);
                prop_assert_eq!(line.overlong, overlong);
                offset = (offset + whole.len() + 1).min(text.len());
                prop_assert_eq!(lines.position(), (offset as u64, i as u64 + 1));
            }
            prop_assert_eq!(lines.next().unwrap(), None);
        }
    }
}
