//! The document that the last `ng stress --json` left, for the live page. It is read again when the
//! file has changed, and judged by nobody: a file that is no JSON object is shown as none.

use std::io::Read;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use serde_json::Value;

/// Bytes of a document; the stress writes some 10 KiB.
const MOST: u64 = 1 << 20;

#[derive(Debug, Default)]
struct Kept {
    of: Option<(SystemTime, u64)>,
    document: Arc<Value>,
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct LastStress(Mutex<Kept>);

impl LastStress {
    /// The document in `file`, `null` if there is none.
    pub(super) fn document(&self, file: Option<&Path>) -> Arc<Value> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = file.and_then(|file| std::fs::metadata(file).ok());
        let of = found.and_then(|found| Some((found.modified().ok()?, found.len())));
        if of != kept.of {
            let document = file.filter(|_| of.is_some()).and_then(read).unwrap_or_default();
            *kept = Kept { of, document: Arc::new(document) };
        }
        Arc::clone(&kept.document)
    }
}

fn read(file: &Path) -> Option<Value> {
    let mut text = String::new();
    std::fs::File::open(file).ok()?.take(MOST).read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok().filter(Value::is_object)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_follows_its_file_and_nonsense_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("stress.json");
        let last = LastStress::default();
        let look = || last.document(Some(&file))["tokens"].as_u64();
        assert_eq!(look(), None);
        std::fs::write(&file, "{\"tokens\": 5}").unwrap();
        assert_eq!(look(), Some(5));
        std::fs::write(&file, "{\"tokens\": 12}").unwrap();
        assert_eq!(look(), Some(12));
        std::fs::write(&file, "{\"tokens\": 12").unwrap();
        assert_eq!(look(), None);
        std::fs::remove_file(&file).unwrap();
        assert_eq!(look(), None);
        assert_eq!(*last.document(None), Value::Null);
    }
}
