//! The log's lines, one after the other, across its segments.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use crate::audit::segment::{records_path, segments};

/// Reads whole lines from some segment on. At the log's end it gives `None`, and more when there is more.
pub struct Lines {
    directory: PathBuf,
    /// The segment being read, and what is known of the one after it.
    file: Option<BufReader<File>>,
    segment: Option<u64>,
    /// A line, of which the end may not be written yet.
    line: Vec<u8>,
    is_whole: bool,
}

const BUFFER: usize = 1 << 18;

impl Lines {
    /// Begins with the oldest segment that is there.
    pub fn of(directory: &Path) -> Self {
        Self { directory: directory.to_path_buf(), file: None, segment: None, line: Vec::new(), is_whole: false }
    }

    /// Begins with the segment that has this record.
    pub fn from(directory: &Path, seq: u64) -> io::Result<Self> {
        let mut this = Self::of(directory);
        if let Some(first) = segments(directory)?.into_iter().rfind(|first| *first <= seq) {
            this.open(first)?;
        }
        Ok(this)
    }

    /// The first record of the segment being read.
    pub fn segment(&self) -> Option<u64> {
        self.segment
    }

    /// The next line, without its line feed.
    pub fn next_line(&mut self) -> io::Result<Option<&[u8]>> {
        loop {
            if self.is_whole {
                self.line.clear();
                self.is_whole = false;
            }
            if let Some(file) = &mut self.file {
                // What there is of a line is kept until its end comes.
                file.read_until(b'\n', &mut self.line)?;
                if self.line.ends_with(b"\n") {
                    self.is_whole = true;
                    return Ok(self.line.strip_suffix(b"\n"));
                }
            }
            // A segment is whole before the next one begins; but this one may have grown since its end was seen.
            let Some(next) = self.after()? else { return Ok(None) };
            if let Some(file) = &mut self.file
                && file.read_until(b'\n', &mut self.line)? > 0
                && self.line.ends_with(b"\n")
            {
                self.is_whole = true;
                return Ok(self.line.strip_suffix(b"\n"));
            }
            self.line.clear();
            self.open(next)?;
        }
    }

    fn after(&self) -> io::Result<Option<u64>> {
        Ok(segments(&self.directory)?.into_iter().find(|first| self.segment.is_none_or(|segment| *first > segment)))
    }

    fn open(&mut self, first: u64) -> io::Result<()> {
        let file = File::open(records_path(&self.directory, first))?;
        self.file = Some(BufReader::with_capacity(BUFFER, file));
        self.segment = Some(first);
        Ok(())
    }
}

/// The last whole line of a file, without its line feed.
pub(super) fn last_line(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut window = 1 << 14;
    loop {
        let start = length.saturating_sub(window);
        file.seek(SeekFrom::Start(start))?;
        let mut end = Vec::new();
        (&mut file).take(window).read_to_end(&mut end)?;
        let whole = memchr::memrchr(b'\n', &end).map_or(0, |at| at);
        let begin = memchr::memrchr(b'\n', &end[..whole]);
        match begin {
            Some(begin) => return Ok(end[begin + 1..whole].to_vec()),
            None if start == 0 => return Ok(end[..whole].to_vec()),
            None => window *= 8,
        }
    }
}
