//! The document of the last stress run, for the live page: read from a file when that has changed, and
//! looked at not more often than once in ten seconds. It changes nothing.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

/// The least time between two looks.
const PAUSE: Duration = Duration::from_secs(10);

/// The largest document; a real one has 6 KB.
const MOST: u64 = 1 << 20;

#[derive(Debug, Default)]
struct Kept {
    looked: Option<Instant>,
    changed: Option<SystemTime>,
    document: Value,
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct LastStress(Mutex<Kept>);

impl LastStress {
    /// The document in `file`; `null` if there is none, or it is no JSON object. It may read the file.
    pub(super) fn document(&self, file: Option<&Path>) -> Value {
        let Some(file) = file else { return Value::Null };
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.looked.is_none_or(|looked| looked.elapsed() >= PAUSE) {
            kept.looked = Some(Instant::now());
            let found = std::fs::metadata(file).ok().filter(|found| found.is_file() && found.len() <= MOST);
            let changed = found.and_then(|found| found.modified().ok());
            if changed.is_none() || changed != kept.changed {
                kept.changed = changed;
                kept.document = changed.and_then(|_| read(file)).unwrap_or_default();
            }
        }
        kept.document.clone()
    }
}

fn read(file: &Path) -> Option<Value> {
    let text = std::fs::read_to_string(file).ok()?;
    serde_json::from_str(&text).ok().filter(Value::is_object)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_document_is_read_when_it_is_there_and_seldom() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("stress.json");
        assert_eq!(LastStress::default().document(None), Value::Null);
        assert_eq!(LastStress::default().document(Some(&file)), Value::Null);
        std::fs::write(&file, "{\"tokens\": 5}").unwrap();
        let last = LastStress::default();
        assert_eq!(last.document(Some(&file)), json!({ "tokens": 5 }));
        std::fs::write(&file, "{\"tokens\": 6}").unwrap();
        assert_eq!(last.document(Some(&file)), json!({ "tokens": 5 }), "not within ten seconds");
        for text in ["", "[1]", "{"] {
            std::fs::write(&file, text).unwrap();
            assert_eq!(LastStress::default().document(Some(&file)), Value::Null, "{text:?}");
        }
        let sparse = std::fs::File::create(&file).unwrap();
        sparse.set_len(MOST + 1).unwrap();
        assert_eq!(LastStress::default().document(Some(&file)), Value::Null, "too large to be one");
    }
}
