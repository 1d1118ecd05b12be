//! A configuration file as text.
//!
//! At most 1 MiB is read: a directory, an endless device and a larger file are refused.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use super::finding::{Finding, Findings};
use super::place::{Place, Source, tame};

/// A larger file is refused: no configuration is that long, and a device or a log might be.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// The file's text; a finding, if there is none.
pub(super) fn read_file(path: &Path, findings: &mut Findings) -> Option<Source> {
    let name = path.display().to_string();
    let whole = || Place::File { name: tame(&name) };
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes));
    if let Err(error) = read {
        findings.error(|| unreadable(whole(), &error));
        return None;
    }
    if bytes.len() as u64 > MAX_FILE_BYTES {
        findings.error(|| {
            Finding::error(whole(), "the file is longer than 1 MiB, the most that is read")
                .help("give the path of a configuration file")
        });
        return None;
    }
    match String::from_utf8(bytes) {
        Ok(text) => Some(Source::new(name, text)),
        Err(error) => {
            let at = error.utf8_error().valid_up_to();
            let bytes = error.into_bytes();
            findings.error(|| not_utf8(whole(), &bytes, at));
            None
        }
    }
}

fn unreadable(place: Place, error: &io::Error) -> Finding {
    match error.kind() {
        io::ErrorKind::NotFound => Finding::error(place, "there is no such file")
            .help("check the path; `ng config default` prints a complete file to start from"),
        io::ErrorKind::IsADirectory => {
            Finding::error(place, "this is a directory").help("give the path of the file in it")
        }
        io::ErrorKind::PermissionDenied => Finding::error(place, "the file may not be read by this user")
            .help("change its permissions, or run as its owner"),
        _ => Finding::error(place, format!("the file can't be read: {error}"))
            .help("give the path of a readable file"),
    }
}

fn not_utf8(place: Place, bytes: &[u8], at: usize) -> Finding {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Finding::error(place, "the file is UTF-16").help("save it as UTF-8");
    }
    let line = bytes.iter().take(at).filter(|byte| **byte == b'\n').count() + 1;
    Finding::error(place, format!("line {line} is not UTF-8, from byte {at} of the file"))
        .help("save the file as UTF-8")
}
